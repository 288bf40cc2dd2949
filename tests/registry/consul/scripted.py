"""An HTTP server that answers as Consul was seen, or is documented, to answer.

For what a healthy agent does not do when asked: an index that goes back, a leader that is missing,
a reply that is lost. `tests/registry/aliases/test_consul_agent.py` runs against a real agent.
"""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from registry.artifacts.records import encode_record
from registry.consul import Access
from registry.consul.client import Consul
from tests.proxies import Quiet, serving

NO_LEADER = "No cluster leader"


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    token: str
    body: bytes

    @property
    def index(self) -> int:
        return int(self.query.get("index", "0"))

    @property
    def stale(self) -> bool:
        return "stale" in self.query


@dataclass(frozen=True)
class Answer:
    """One reply. `lost`: the connection breaks instead. `gate`: waited for before it is sent."""

    status: int = 200
    index: int | None = None
    body: bytes = b""
    lost: bool = False
    gate: threading.Event | None = None


def key(value: Any, index: int, *, modified: int = 0, session: str = "") -> Answer:
    """The answer to a read of a key that holds `value`, a record or bytes."""
    data = value if isinstance(value, bytes) else encode_record(value)
    row = {"Key": "k", "Value": base64.b64encode(data).decode(), "ModifyIndex": modified or index}
    if session:
        row["Session"] = session
    return Answer(200, index, json.dumps([row]).encode())


def absent(index: int) -> Answer:
    """The answer to a read of a key that is not there."""
    return Answer(404, index)


def error(status: int, text: str) -> Answer:
    return Answer(status, None, text.encode())


def said(document: Any) -> Answer:
    """A document without an index."""
    return Answer(200, None, json.dumps(document).encode())


@dataclass
class Script:
    """What was asked, and how to answer it: from a list, the last again and again; or a function."""

    answers: Sequence[Answer] | Callable[[Asked], Answer]
    asked: list[Asked] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, asked: Asked) -> Answer:
        with self.lock:
            number = len(self.asked)
            self.asked.append(asked)
            if callable(self.answers):
                return self.answers(asked)
            return self.answers[min(number, len(self.answers) - 1)]


@contextlib.contextmanager
def scripted(*answers: Answer, by: Callable[[Asked], Answer] | None = None) -> Iterator[Any]:
    """Yields a client of the server and the `Script`."""
    script = Script(by or answers)

    class Handler(Quiet):
        def do_GET(self) -> None:  # noqa: N802 (of the base class)
            parts = urlsplit(self.path)
            pairs = parse_qs(parts.query, keep_blank_values=True)
            query = {name: values[0] for name, values in pairs.items()}
            token = self.headers.get("X-Consul-Token") or ""
            asked = Asked(self.command, parts.path, query, token, self.body())
            answer = script.next(asked)
            if answer.gate is not None:
                answer.gate.wait(60)
            if answer.lost:
                self.close_connection = True
                return
            index = {} if answer.index is None else {"X_Consul_Index": str(answer.index)}
            with contextlib.suppress(OSError):  # The client may have gone.
                self.reply(answer.status, answer.body, **index)

        do_PUT = do_GET  # noqa: N815 (of the base class)

    with serving(Handler) as address:
        yield Consul(Access.from_environment({"CONSUL_HTTP_ADDR": address})), script
