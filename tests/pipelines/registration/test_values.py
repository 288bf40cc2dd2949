from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.registration.specs import Spec, Variable, find_folder, known_variables
from pipelines.registration.values import (
    expression,
    filled_in,
    given_values,
    read_file,
    read_words,
)
from registry.errors import NotFound, UsageError
from tests.repository import tree

KNOWN = {
    "image": Variable("image", "string", "The image.", required=True),
    "count": Variable("count", "number", "How many.", required=False),
    "crons": Variable("crons", "list(string)", "When.", required=False),
    "kind": Variable("kind", "string", "Which.", required=True),
}
SPEC = Spec(
    Path("x.nomad.hcl"),
    'variable "image" {\n  description = "The image."\n  type        = string\n}\n\n'
    'variable "count" {\n  description = "How many."\n  type        = number\n'
    "  default     = 1\n}\n",
)


def test_what_a_specification_declares():
    image, count = SPEC.variables["image"], SPEC.variables["count"]
    assert image == Variable("image", "string", "The image.", required=True)
    assert (count.type, count.required) == ("number", False)


def test_words_are_text_or_expressions_by_type():
    words = ["image=a/b:1.0=x", "count=3", 'crons=["0 5 * * *"]']
    assert read_words(words, KNOWN) == {
        "image": '"a/b:1.0=x"', "count": "3", "crons": '["0 5 * * *"]',
    }  # fmt: skip


@pytest.mark.parametrize("word", ["count", "=3"])
def test_words_of_another_form(word):
    with pytest.raises(UsageError, match="NAME=VALUE"):
        read_words([word], KNOWN)


@given(st.text())
def test_text_stays_itself_in_hcl(text):
    written = expression(text)
    assert "${" not in written.replace("$${", "")
    assert json.loads(written.replace("$${", "${").replace("%%{", "%{")) == text


def test_a_file_of_variables(tmp_path):
    path = tmp_path / "prod.vars.hcl"
    path.write_text(
        '# Production.\nimage = "a/b:1.0"\nenv = {\n  A = "1"\n  # why\n  B = "x=y"\n}\n\n'
        "count   = 3 // three\n"
    )
    found = read_file(path)
    assert found["image"] == '"a/b:1.0"'
    assert found["count"].startswith("3")
    assert found["env"].count("\n") >= 3


@pytest.mark.parametrize("text", ["hello\n", "a = 1\na = 2\n", "a =\nb = 1\n"])
def test_a_file_of_another_form(tmp_path, text):
    path = tmp_path / "x.hcl"
    path.write_text(text)
    with pytest.raises(UsageError, match="is not a file of variables"):
        read_file(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(NotFound, match=r"gone\.hcl cannot be read"):
        read_file(tmp_path / "gone.hcl")


def test_words_come_before_files(tmp_path):
    (tmp_path / "a.hcl").write_text("count = 1\n")
    (tmp_path / "b.hcl").write_text("count = 2\n")
    files = [tmp_path / "a.hcl", tmp_path / "b.hcl"]
    assert given_values(files, [], KNOWN) == {"count": "2"}
    assert given_values(files, ["count=3"], KNOWN) == {"count": "3"}


def test_a_name_that_nobody_declares_is_an_error():
    with pytest.raises(UsageError, match="has a variable 'cuont'") as error:
        given_values([], ["cuont=3"], KNOWN)
    assert "count" in error.value.why


def test_what_decides_which_job_it_is_cannot_be_given():
    with pytest.raises(UsageError, match="kind is not a variable to be given"):
        given_values([], ["kind=train"], KNOWN)


def test_only_what_is_declared_is_filled_in():
    assert filled_in(SPEC, {"image": '"x"', "other": "1"}) == 'image = "x"\n'
    with pytest.raises(UsageError, match=r"x\.nomad\.hcl needs a value for image") as error:
        filled_in(SPEC, {"count": "1"})
    assert error.value.why == "The image"


def test_the_folder_is_found_in_a_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_folder(None) == tree.ROOT / "nomad"
    (tmp_path / "nomad").mkdir()
    (tmp_path / "nomad" / "job.nomad.hcl").touch()
    assert find_folder(None) == tmp_path / "nomad"
    with pytest.raises(NotFound, match="no job specifications") as error:
        find_folder(tmp_path / "elsewhere")
    assert "--specs" in error.value.todo


def test_every_variable_is_known():
    assert {"kind", "crons", "canary", "vault"} <= set(known_variables(tree.ROOT / "nomad"))
