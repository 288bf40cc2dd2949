"""Requests and their failures, with recorded answers (`scripted.py`)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.consul import Access, Denied, NoLeader
from registry.consul.client import LARGEST_VALUE, Consul
from registry.errors import BadData, ConfigError, Temporary
from tests.registry.consul.scripted import (
    NO_LEADER,
    Answer,
    absent,
    error,
    key,
    said,
    scripted,
)

HEAD = "penstock/prod-0/heads/flights/champion"


def test_a_key_and_its_index() -> None:
    with scripted(key(b"\x00value", 70, modified=66, session="s")) as (consul, script):
        found = consul.get("a/b")
    assert found.index == 70
    assert (found.entry.value, found.entry.index, found.entry.session) == (b"\x00value", 66, "s")
    assert [(asked.method, asked.path) for asked in script.asked] == [("GET", "/v1/kv/a/b")]


def test_an_empty_value_is_there() -> None:
    row = b'[{"Key": "k", "Value": null, "ModifyIndex": 3}]'
    with scripted(Answer(200, 3, row)) as (consul, _):
        assert consul.get("k").entry.value == b""


def test_a_missing_key_has_an_index() -> None:
    with scripted(absent(12)) as (consul, _):
        found = consul.get("k")
    assert (found.entry, found.index) == (None, 12)


def test_blocking_names_index_and_wait_and_outlasts_both() -> None:
    with scripted(absent(12)) as (consul, script):
        consul.get("k", index=11, wait=2.5)
        consul.get("k", index=11, wait=0.0)
        consul.get("k", index=11, wait=5000.0)
        timeout = consul._connection.timeout([("index", 11), ("wait", "320000ms")])
    # Without a wait, Consul would block for five minutes; above ten it does not go.
    assert [asked.query["wait"] for asked in script.asked] == ["2500ms", "1ms", "600000ms"]
    # The reply may come a sixteenth later than was asked for.
    assert timeout[1] >= 320 + 20 + 1
    assert timeout[0] <= 5


def test_check_and_set_answers_true_or_false() -> None:
    with scripted(said(True), said(False)) as (consul, script):
        assert consul.put("k", b"v", cas=0)
        assert not consul.put("k", b"v", cas=7)
    assert [asked.query for asked in script.asked] == [{"cas": "0"}, {"cas": "7"}]


def test_a_value_that_consul_would_not_take_is_not_sent() -> None:
    with scripted(said(True)) as (consul, script):
        assert consul.put("k", b"v" * LARGEST_VALUE, cas=0)
        with pytest.raises(BadData, match="512 KiB"):
            consul.put("k", b"v" * (LARGEST_VALUE + 1), cas=0)
    assert len(script.asked) == 1


def test_no_leader_has_its_own_error() -> None:
    with scripted(error(500, NO_LEADER)) as (consul, _), pytest.raises(NoLeader):
        consul.get("k")


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_what_may_pass(status: int) -> None:
    with scripted(error(status, "rpc error")) as (consul, _), pytest.raises(Temporary) as caught:
        consul.get("k")
    assert not isinstance(caught.value, NoLeader)


def test_a_request_that_consul_does_not_take() -> None:
    with scripted(error(400, "bad")) as (consul, _), pytest.raises(ConfigError, match="400: bad"):
        consul.get("k")


def test_an_answer_of_somebody_else() -> None:
    with (
        scripted(Answer(200, 1, b"<html>")) as (consul, _),
        pytest.raises(Temporary, match="CONSUL_HTTP_ADDR"),
    ):
        consul.get("k")
    with scripted(Answer(200, 1, b'[{"Key": 1}]')) as (consul, _), pytest.raises(BadData):
        consul.get("k")


def test_a_refusal_names_the_right_and_the_policy() -> None:
    text = "Permission denied: token with AccessorID '0' lacks permission 'key:read' on \"k\""
    with scripted(error(403, text)) as (consul, _):
        with pytest.raises(Denied, match=r"key:read.*nomad/policies/consul"):
            consul.get(HEAD)
        with pytest.raises(Denied, match=r"nomad/policies/consul/pipeline\.hcl"):
            consul.put(HEAD, b"v", cas=0)
        with pytest.raises(Denied, match=r"nomad/policies/consul/serving\.hcl"):
            consul.call("PUT", "/v1/session/create", (), {})


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nothing listens, and nothing will."""
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{kept.getsockname()[1]}"


def test_an_agent_that_is_away(nobody: str) -> None:
    consul = Consul(Access.from_environment({"CONSUL_HTTP_ADDR": nobody}))
    errors = []
    for _ in range(2):
        with pytest.raises(Temporary, match=nobody) as caught:
            consul.get("k")
        errors.append(str(caught.value))
    # The same words each time, so that a watcher can log them once.
    assert errors[0] == errors[1]


def test_a_kept_connection_that_the_agent_closed_is_opened_again() -> None:
    with scripted(Answer(lost=True), absent(3)) as (consul, script):
        assert consul.get("k").index == 3
    assert len(script.asked) == 2


def test_a_write_without_reply_is_not_repeated_by_itself() -> None:
    with scripted(Answer(lost=True), said(True)) as (consul, script):
        with pytest.raises(Temporary):
            consul.put("k", b"v", cas=0)
        assert len(script.asked) == 1


def test_the_token_and_the_namespace_go_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "from-environment")
    with scripted(absent(1)) as (plain, script):
        address = plain.access.url
        env = {"CONSUL_HTTP_ADDR": address, "CONSUL_NAMESPACE": "team"}
        Consul(Access.from_environment(env)).get("k")
    assert script.asked[0].token == "from-environment"
    assert script.asked[0].query == {"ns": "team"}


def test_a_token_file_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "of less weight")
    file = tmp_path / "token"
    with scripted(absent(1)) as (plain, script):
        env = {"CONSUL_HTTP_ADDR": plain.access.url, "CONSUL_HTTP_TOKEN_FILE": str(file)}
        consul = Consul(Access.from_environment(env))
        with pytest.raises(ConfigError, match="CONSUL_HTTP_TOKEN_FILE"):
            consul.get("k")
        for text in ("first\n", "second", "", None):
            if text is None:
                file.unlink()
            else:
                file.write_text(text)
            consul.get("k")
    # A file that is empty or gone for a moment is being replaced.
    assert [asked.token for asked in script.asked] == ["first", "second", "second", "second"]


def test_no_token_in_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "s3cret")
    with scripted(error(403, "ACL not found")) as (consul, _):
        with pytest.raises(Denied) as caught:
            consul.get("k")
        assert "s3cret" not in str(caught.value) + repr(consul.access) + repr(caught.value)
