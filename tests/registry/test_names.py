from __future__ import annotations

import argparse

import pytest

from registry.command import natural, summary_of
from registry.errors import UsageError
from registry.identity import checked_identity, user, who_am_i
from registry.names import is_key, parse_key
from registry.settings import Settings


@pytest.mark.parametrize("text", ["0" * 16, "0123456789abcdef" * 4, "a" * 20])
def test_enough_digits_are_a_key(text):
    assert parse_key(text) == text


@pytest.mark.parametrize("text", ["", "0" * 15, "0" * 65, "G" * 16, "A" * 16, "flights@champion"])
def test_other_text_is_none(text):
    assert not is_key(text)
    with pytest.raises(UsageError):
        parse_key(text)


def test_who_acts_is_a_setting_or_the_login(monkeypatch):
    monkeypatch.setenv("LOGNAME", "ada l")
    assert user() == "ada-l"
    assert who_am_i().startswith("ada-l@")
    assert who_am_i(Settings.load({"PENSTOCK_WHO": "ci/deploy"})) == "ci/deploy"
    assert who_am_i(Settings.load({})) == who_am_i()


@pytest.mark.parametrize("text", [" ", "a\nb", "a\x1b[2J", "x" * 201])
def test_a_name_must_be_fit_for_a_table(text):
    with pytest.raises(ValueError, match="printable"):
        checked_identity(text)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "٣", "one"])
def test_numbers_are_natural(text):
    with pytest.raises(argparse.ArgumentTypeError):
        natural(text)


def test_a_summary_is_the_first_line():
    assert summary_of("Do it.\n\nAt length.") == "Do it"
    assert summary_of(None) == ""
