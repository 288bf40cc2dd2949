"""Errors say what happened, why, and what to do; each kind has its exit code."""

from __future__ import annotations

import copy
import re

import pytest

from registry import errors
from registry.errors import Corrupt, PenstockError, StoreUnwritable

KINDS = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, PenstockError)
]


def test_the_tree_in_the_docstring_is_the_tree():
    assert errors.__doc__ is not None
    drawn = dict(re.findall(r"(\w+) +(\d\d)  ", errors.__doc__))
    assert drawn == {kind.__name__: str(kind.exit_code) for kind in KINDS}


def test_kinds_have_names_of_their_own():
    assert len({kind.kind for kind in KINDS}) == len(KINDS)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.kind) for kind in KINDS)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("it broke",), "it broke"),
        (("it broke", "a cause"), "it broke: a cause"),
        (("it broke", "a cause", "Do this."), "it broke: a cause. Do this."),
        (("it broke", "", "Do this."), "it broke. Do this."),
    ],
)
def test_an_error_reads_as_a_sentence(words: tuple[str, ...], text: str):
    assert str(PenstockError(*words)) == text


def test_an_error_can_be_copied_to_another_process():
    error = StoreUnwritable("it broke", "a cause", "Do this.")
    assert copy.copy(error).__dict__ == error.__dict__
    assert error.__reduce__()[1] == ("it broke", "a cause", "Do this.")


def test_corrupt_data_is_bad_data():
    with pytest.raises(errors.BadData):
        raise Corrupt("x")
