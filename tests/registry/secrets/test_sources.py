"""Places of secrets, what their texts may look like, how long one is kept."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import structlog

from registry.errors import ConfigError, PenstockError, Refused, Temporary
from registry.logs import configure, get_logger
from registry.redaction import redact, remember, without_secrets
from registry.secrets import open_secret
from registry.secrets.cached import CachedSource, Patience
from registry.secrets.protocol import Fetched
from registry.secrets.reference import parse_place
from registry.settings import Settings

CANARY = "AKIA-never-to-be-seen-0123456789"


@pytest.mark.parametrize(
    "text", ["vault:secret/penstock/store", "file:/run/a b", "file:rel", "env:TOKENS"]
)
def test_a_place_reads_as_it_is_written(text: str):
    assert str(parse_place(text)) == text


@pytest.mark.parametrize(
    "text",
    [CANARY, f"AKIA:{CANARY}", "vault:", "vault:secret", "vault:/secret/x", "vault:a/../b",
     "vault:a/b?x", "vault:a//b", "vault:https://host/a", "file:", "file:\n", "env:", "env:A-B",
     "env:1A", "secret/x", "vault:a/b c"],
)  # fmt: skip
def test_what_is_no_place_is_not_repeated(text: str):
    with pytest.raises(ConfigError, match="PENSTOCK_STORE_SECRET") as caught:
        Settings.load({"PENSTOCK_STORE_SECRET": text})
    assert CANARY not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        open_secret(text, Settings.load({}))
    assert CANARY not in str(caught.value)


def read_file(path: Path, text: str) -> object:
    path.write_text(text)
    return open_secret(f"file:{path}", Settings.load({})).read()


def test_a_file_is_json_or_lines(tmp_path: Path):
    wanted = {"access_key_id": "id", "secret_access_key": "a=b c"}
    for text in (
        json.dumps(wanted),
        "\n# of the team\naccess_key_id=id\nsecret_access_key=a=b c\n",
        "export access_key_id='id'\r\nsecret_access_key = \"a=b c\"",
    ):
        assert read_file(tmp_path / "secret", text) == wanted


@pytest.mark.parametrize(
    "text", ["", CANARY, f'{{"{CANARY}"', f'{{"a": ["{CANARY}"]}}', f"a=1\n{CANARY}", f"={CANARY}"]
)
def test_a_file_of_another_form_is_not_repeated(tmp_path: Path, text: str):
    with pytest.raises(ConfigError, match=f"file:{tmp_path}") as caught:
        read_file(tmp_path / "secret", text)
    assert CANARY not in str(caught.value)


def test_what_is_not_there_is_named(tmp_path: Path):
    for place in (f"file:{tmp_path}/none", "env:PENSTOCK_NONE", f"file:{tmp_path}"):
        with pytest.raises(ConfigError, match=place):
            open_secret(place, Settings.load({})).read()
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="it is not text"):
        open_secret(f"file:{tmp_path}/binary", Settings.load({})).read()


def test_a_variable_and_a_file_are_read_at_every_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TOKENS", "alice=one")
    source = open_secret("env:TOKENS", Settings.load({}))
    assert source.read() == {"alice": "one"}
    monkeypatch.setenv("TOKENS", "alice=two")
    assert source.read() == {"alice": "two"}
    assert source.name == "env:TOKENS"


class Scripted:
    """An origin that gives what it is told, and counts how often it was asked."""

    name = "vault:secret/x"

    def __init__(self, lease_s: float | None = None) -> None:
        self.asked = 0
        self.trouble: PenstockError | None = None
        self.lease_s = lease_s

    def fetch(self) -> Fetched:
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble
        return Fetched({"value": str(self.asked)}, self.lease_s)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_secret_is_read_again_when_it_is_due():
    origin, clock = Scripted(), Clock()
    source = CachedSource(origin, Patience(60, 600), clock)
    assert [source.read()["value"] for _ in range(3)] == ["1", "1", "1"]
    clock.now = 61
    assert source.read()["value"] == "2"
    source.forget()
    assert source.read()["value"] == "3"


def test_while_its_place_is_away_a_secret_serves_on_for_so_long_and_no_longer():
    origin, clock = Scripted(), Clock()
    source = CachedSource(origin, Patience(60, 600), clock)
    source.read()
    origin.trouble = Temporary("sealed")
    clock.now = 100
    assert source.read()["value"] == "1"
    asked = origin.asked
    clock.now = 102
    assert source.read()["value"] == "1"
    assert origin.asked == asked  # a server in trouble is not asked at every use
    clock.now = 599
    assert source.read()["value"] == "1"
    clock.now = 601
    with pytest.raises(Temporary, match="sealed"):
        source.read()
    origin.trouble = None
    assert source.read()["value"] == str(origin.asked)


def test_nothing_serves_beyond_its_lease():
    origin, clock = Scripted(lease_s=30), Clock()
    source = CachedSource(origin, Patience(60, 600), clock)
    source.read()
    clock.now = 21
    assert source.read()["value"] == "2"
    origin.trouble = Temporary("away")
    clock.now = 45
    assert source.read()["value"] == "2"
    clock.now = 52
    with pytest.raises(Temporary):
        source.read()


def test_a_right_that_was_withdrawn_counts_at_once():
    origin, clock = Scripted(), Clock()
    source = CachedSource(origin, Patience(60, 600), clock)
    source.read()
    origin.trouble = Refused("no policy")
    clock.now = 61
    with pytest.raises(Refused):
        source.read()


def test_known_secrets_are_masked_in_every_kind_of_line(monkeypatch: pytest.MonkeyPatch):
    odd = 'with "quotes" and \\ in it'
    monkeypatch.setenv("NOMAD_TOKEN", f"nomad-{CANARY}")
    remember([CANARY, odd, "short"])
    for as_json in (True, False):
        stream = io.StringIO()
        configure("info", stream, json=as_json)
        get_logger("x").info(f"a {CANARY} b", field=[f"nomad-{CANARY}"], other=odd, kept="short")
        assert "never-to-be-seen" not in stream.getvalue()
        assert "quotes" not in stream.getvalue()
        assert "short" in stream.getvalue()
    structlog.reset_defaults()
    assert redact("nothing to hide") == "nothing to hide"


def test_children_that_need_no_secret_get_none():
    env = {
        "PATH": "/bin", "VAULT_TOKEN": "a", "AWS_SECRET_ACCESS_KEY": "b", "TOKENS": "c",
        "PENSTOCK_SERVING_TOKENS": "env:TOKENS", "VAULT_ADDR": "http://vault",
    }  # fmt: skip
    assert sorted(without_secrets(env)) == ["PATH", "PENSTOCK_SERVING_TOKENS", "VAULT_ADDR"]
