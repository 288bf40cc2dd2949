"""`penstock import` with stages of a use case."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import penstock
from registry.errors import Refused
from tests.penstock.conftest import ENVIRONMENT, Imported
from tests.serving import staged
from tests.serving.moody import ENVIRONMENT as TEAM


@pytest.fixture(autouse=True)
def _team() -> Iterator[None]:
    with staged.known():
        yield


def test_a_stage_alone_becomes_a_model(imported: Imported, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("import", "--name", "sums", "--pre", "payloads/sums", "--json")
    done = imported.ok(*words, "--alias", "champion").document
    assert done["created"]
    assert done["manifest"]["parameters"]["pre"] == "payloads/sums@4"
    assert not imported.ok(*words).document["created"]
    monkeypatch.chdir(imported.folder)
    monkeypatch.setenv("PENSTOCK_ENVIRONMENT", ENVIRONMENT)
    with pytest.raises(Refused, match="payloads/sums version 4"):
        penstock.load("sums@champion")


def test_stages_go_around_a_file(imported: Imported) -> None:
    words = ("import", "first.txt", "--name", "churn", "--sample", "rows.parquet")
    done = imported.ok(*words, "--post", "payloads/percent", "--json", **TEAM).document
    assert done["manifest"]["key"] != imported.first
    assert done["manifest"]["parameters"]["post"] == "payloads/percent@1"


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ((), 64, "Name a FILE, or a stage with --pre"),
        (("--pre", "payloads/nothing"), 65, "there is no stage 'payloads/nothing'"),
        (("first.txt", "--pre", "payloads/negates"), 65, "only one of the two has"),
    ],
)
def test_what_cannot_be_imported_is_said(
    imported: Imported, words: tuple[str, ...], code: int, text: str
) -> None:
    done = imported.call("import", *words, "--name", "m", **TEAM)
    assert done.code == code
    assert text in done.err
