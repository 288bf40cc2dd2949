"""The requests that are made of Consul's HTTP API.

py-consul makes the connection. What its methods leave out is added here: the namespace, a token
that is read again from its file, how long to wait for an agent that is away, and errors of ours.
"""

from __future__ import annotations

import base64
import binascii
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import requests
from consul.std import HTTPClient

from registry.consul.access import Access
from registry.consul.errors import failure
from registry.errors import BadData, ConfigError, Temporary
from registry.redaction import remember

#: Seconds in which the agent must take a connection, and answer what does not block.
CONNECT = 3.0
ANSWER = 10.0
#: Seconds that Consul blocks at the most, and bytes that a value may have.
LONGEST_WAIT = 600.0
LARGEST_VALUE = 512 * 1024

Params = Sequence[tuple[str, object]]


class Entry(msgspec.Struct, frozen=True):
    """One key. `index` is what check-and-set compares; `session` holds it, or is empty."""

    key: str
    value: bytes
    index: int
    session: str


@dataclass(frozen=True)
class Found:
    """What is at a key (None: nothing) and the index to block on."""

    entry: Entry | None
    index: int


@dataclass(frozen=True)
class Reply:
    """An answer: `document` is its JSON, None where there is none (404)."""

    status: int
    index: int
    document: Any


class _Connection(HTTPClient):  # type: ignore[misc]  # py-consul has no types
    """py-consul's connection; an agent that is away is noticed within seconds."""

    def timeout(self, params: Any) -> tuple[float, float]:
        # A blocking query sends nothing until its wait, and up to a sixteenth more, is over.
        return CONNECT, ANSWER + super().timeout(params)


class Consul:
    """One agent. May be shared by threads: each has a connection of its own."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._kept = threading.local()
        self._last_token = ""

    # keys -------------------------------------------------------------------------------------

    def get(self, key: str, *, index: int = 0, wait: float = 0.0, stale: bool = False) -> Found:
        """The key, once its index differs from `index`, or after about `wait` seconds.

        Raises:
            NoLeader, Temporary, Denied; BadData: what is there is not base64.
        """
        params: list[tuple[str, object]] = [("stale", "")] if stale else []
        if index:
            milliseconds = max(1, int(min(wait, LONGEST_WAIT) * 1000))
            params += [("index", index), ("wait", f"{milliseconds}ms")]
        reply = self.call("GET", f"/v1/kv/{key}", params)
        rows = reply.document or []
        return Found(_entry(rows[0]) if rows else None, reply.index)

    def list(self, prefix: str) -> list[Entry]:
        """Every key that starts with `prefix`."""
        reply = self.call("GET", f"/v1/kv/{prefix}", [("recurse", "")])
        return [_entry(row) for row in reply.document or []]

    def put(self, key: str, value: bytes, **condition: object) -> bool:
        """Write under a condition: `cas=<index>` (0: only if absent) or `acquire=<session>`.

        Raises:
            Temporary: among others if the reply was lost; the key may have been written.
            BadData: the value is larger than Consul takes.
        """
        if len(value) > LARGEST_VALUE:
            raise BadData(f"{key} would have {len(value):,} bytes", "Consul takes 512 KiB")
        return self.call("PUT", f"/v1/kv/{key}", list(condition.items()), value).document is True

    # requests ---------------------------------------------------------------------------------

    def call(
        self, method: str, path: str, params: Params = (), body: object = b"", absent: bool = True
    ) -> Reply:
        """Make one request; `body` other than bytes is sent as JSON.

        Args:
            method: GET or PUT.
            path: with its `/v1/`.
            params: of the query string.
            body: bytes, or a document.
            absent: whether 404 is an answer (`document` is None).

        Raises:
            NoLeader, Temporary, Denied: see there.
            ConfigError: Consul does not take the request.
        """
        asked = [*params, *([("ns", self.access.namespace)] if self.access.namespace else [])]
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        try:
            answer = self._send(method, path, asked, data)
        except requests.RequestException as error:
            raise self._away(error) from None
        if answer.code == 404 and absent:
            return Reply(404, _index(answer.headers), None)
        if answer.code != 200:
            raise failure(f"{method} {path}", answer.code, answer.body.strip()[:300])
        return Reply(200, _index(answer.headers), self._document(answer.body))

    def _send(self, method: str, path: str, params: Params, data: bytes) -> Any:
        headers = {"X-Consul-Token": token} if (token := self._token()) else {}
        if method == "PUT":
            return self._connection.put(_as_it_is, path, params, data, headers)
        try:
            return self._connection.get(_as_it_is, path, params, headers)
        except requests.Timeout:
            raise
        except requests.ConnectionError:
            # An agent that was restarted closed the connections that are kept here.
            return self._connection.get(_as_it_is, path, params, headers)

    @property
    def _connection(self) -> Any:
        if not hasattr(self._kept, "connection"):
            a = self.access
            made = _Connection(
                f"[{a.host}]" if ":" in a.host else a.host,
                a.port, a.scheme, a.verify, a.certificate, connections_timeout=0.0,
            )  # fmt: skip
            # The agent is near; proxies and .netrc of the environment are meant for the Internet.
            made.session.trust_env = False
            self._kept.connection = made
        return self._kept.connection

    def _token(self) -> str:
        """The token of this moment: a file is read each time, since whoever wrote it renews it."""
        if not self.access.token_file:
            return os.environ.get("CONSUL_HTTP_TOKEN", "").strip()
        try:
            text = Path(self.access.token_file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            if not self._last_token:
                raise ConfigError(
                    f"the token of Consul cannot be read from {self.access.token_file}",
                    getattr(error, "strerror", "") or "it is not text",
                    "CONSUL_HTTP_TOKEN_FILE names the file.",
                ) from None
            text = ""
        # A file that is being replaced may be empty for a moment.
        self._last_token = text or self._last_token
        remember([self._last_token])
        return self._last_token

    def _away(self, error: requests.RequestException) -> Temporary:
        # The library's own text holds addresses of objects, and would never be the same twice.
        why = "TLS failed" if isinstance(error, requests.exceptions.SSLError) else "no connection"
        why = "no answer in time" if isinstance(error, requests.Timeout) else why
        return Temporary(
            f"Consul at {self.access.url} cannot be reached",
            why,
            "Check that its agent runs there, and CONSUL_HTTP_ADDR and CONSUL_CACERT.",
        )

    def _document(self, body: str) -> Any:
        try:
            return msgspec.json.decode(body) if body.strip() else None
        except (msgspec.DecodeError, RecursionError):
            raise Temporary(
                f"what answers at {self.access.url} does not speak as Consul does",
                "its answer is not JSON",
                "Check CONSUL_HTTP_ADDR, and what stands between.",
            ) from None


def _as_it_is(answer: Any) -> Any:
    return answer


def _index(headers: Mapping[str, str]) -> int:
    text = headers.get("X-Consul-Index", "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _entry(row: Any) -> Entry:
    try:
        value = base64.b64decode(row["Value"] or "", validate=True)
        return Entry(row["Key"], value, row["ModifyIndex"], row.get("Session", ""))
    except (KeyError, TypeError, binascii.Error) as error:
        raise BadData("an answer of Consul is not a list of keys", repr(error)) from None
