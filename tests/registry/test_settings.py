"""Settings come from flags, then the environment, then their defaults; each tells from where."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any

import pytest

from registry.errors import ConfigError
from registry.settings import TABLE, Settings


def test_defaults_suit_a_laptop():
    settings = Settings.load({})
    assert settings.store == "var/store"
    assert settings.environment.startswith("dev/")
    assert settings.var == Path("var")
    assert all(settings.origin(row.name) == "default" for row in TABLE)


def test_a_flag_comes_before_the_environment_and_the_default():
    env = {"PENSTOCK_STORE": "s3://bucket", "PENSTOCK_LOG_LEVEL": "INFO"}
    settings = Settings.load(env, store="elsewhere", log_level=None)
    assert (settings.store, settings.origin("store")) == ("elsewhere", "flag")
    assert settings.log_level == "info"
    assert settings.origin("log_level") == "environment PENSTOCK_LOG_LEVEL"


def test_an_empty_variable_counts_as_not_set():
    assert Settings.load({"PENSTOCK_STORE": ""}).origin("store") == "default"


def test_the_environment_of_the_process_is_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PENSTOCK_STORE", "/here")
    assert Settings.load().store == "/here"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("environment", "../prod"), ("environment", "prod/"), ("environment", "a b"),
        ("log_level", "loud"), ("workers", "0"), ("workers", "many"), ("job_timeout", "-1"),
        ("job_timeout", "nan"), ("job_timeout", "inf"), ("retries", "1.5"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_used_names_its_variable(name: str, text: str):
    variable = f"PENSTOCK_{name.upper()}"
    with pytest.raises(ConfigError, match=variable) as caught:
        Settings.load({variable: text})
    assert repr(text) in str(caught.value)
    flags: dict[str, Any] = {name: text}
    with pytest.raises(ConfigError, match=f"flag --{name.replace('_', '-')}"):
        Settings.load({}, **flags)


def test_every_row_is_named_once_documented_and_has_a_default_that_it_accepts():
    names = [row.name for row in TABLE]
    assert len(names) == len(set(names))
    for row in TABLE:
        assert row.doc
        assert row.variable == f"PENSTOCK_{row.name.upper()}"
        default = row.default()
        if default not in (None, "", []):
            assert row.parse(str(default)) == default, row.name


def test_an_unknown_setting_is_an_attribute_error():
    with pytest.raises(AttributeError, match="speed"):
        _ = Settings.load({}).speed


def test_a_user_without_a_name_still_has_an_environment(monkeypatch: pytest.MonkeyPatch):
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert Settings.load({}).environment.startswith("dev/uid")
    monkeypatch.setattr(getpass, "getuser", lambda: "DOMAIN\\some one")
    assert Settings.load({}).environment == "dev/DOMAIN-some-one"
