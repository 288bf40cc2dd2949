"""A small HTTP server that plays back what Nomad says where a real agent cannot be brought to it.

The shapes of replies were recorded from Nomad 1.11.3. What the faults are is told where they are
provoked, with the issue of hashicorp/nomad that describes them.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

#: Of a fault: close the connection without an answer.
HANG_UP = -1


@dataclass
class Request:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    body: Any


@dataclass
class RecordedJob:
    """A child: what the API shows of it."""

    name: str
    meta: dict[str, str] = field(default_factory=dict)
    token: str = ""
    status: str = "running"
    stop: bool = False
    counts: dict[str, int] = field(default_factory=lambda: {"Running": 1})
    allocations: list[dict[str, Any]] = field(default_factory=list)
    task: dict[str, Any] = field(default_factory=lambda: {"Name": "job", "Vault": None})
    evaluations: list[dict[str, Any]] = field(
        default_factory=lambda: [{"ID": "e", "TriggeredBy": "job-register", "Priority": 50}]
    )

    def shown(self) -> dict[str, Any]:
        """Its stub."""
        summary = {"Summary": {"job": self.counts}}
        facts = {"ID": self.name, "Status": self.status, "Stop": self.stop, "Meta": self.meta}
        return {
            **facts,
            "JobSummary": summary,
            "TaskGroups": [{"Name": "job", "Tasks": [self.task]}],
        }


class RecordedNomad:
    """The jobs there are, the requests that came, and the faults to come."""

    def __init__(self) -> None:
        self.address = ""
        self.jobs: dict[str, RecordedJob] = {}
        self.requests: list[Request] = []
        self.index = 10
        self.nodes: list[dict[str, Any]] = []
        self.blocked: list[dict[str, Any]] = []
        self.logs: dict[str, bytes] = {}
        #: (pattern of "METHOD path", status, reply), each used once, in order.
        self.faults: list[tuple[str, int, Any]] = []
        #: What is so of a child that was just dispatched.
        self.fresh: dict[str, Any] = {}
        self.changed = threading.Condition(threading.RLock())
        self.closed = False

    def change(self, change: Callable[[], object] = lambda: None, index: int | None = None) -> None:
        """Change something, and let the index move (to `index`) so that blocking queries answer."""
        with self.changed:
            change()
            self.index = self.index + 1 if index is None else index
            self.changed.notify_all()

    def child(self) -> RecordedJob:
        """The only child."""
        (job,) = self.jobs.values()
        return job

    def end(self, allocation: dict[str, Any]) -> None:
        """Let the only child end with that allocation."""
        with self.changed:
            job = self.child()
            job.allocations.append(allocation)
            job.status = "dead"
            self.change()

    def count(self, pattern: str) -> int:
        """How many requests match "METHOD path"."""
        return len(self.asked(pattern))

    def asked(self, pattern: str) -> list[Request]:
        """The requests that match "METHOD path"."""
        return [r for r in self.requests if re.fullmatch(pattern, f"{r.method} {r.path}")]

    def answer(self, request: Request) -> tuple[int, Any]:
        """Status and reply to a request."""
        with self.changed:
            self.requests.append(request)
            line = f"{request.method} {request.path}"
            for number, (pattern, status, reply) in enumerate(self.faults):
                if re.fullmatch(pattern, line):
                    del self.faults[number]
                    return status, reply
        if request.path == "/v1/jobs":
            return 200, self._list(request.query)
        if request.path == "/v1/nodes":
            return 200, self.nodes
        if request.path == "/v1/evaluations":
            return 200, self.blocked
        if request.path.startswith("/v1/client/fs/logs/"):
            return 200, self.logs.get(request.query["type"], b"")
        return self._job(request, request.path.removeprefix("/v1/job/"))

    def _list(self, query: dict[str, str]) -> list[dict[str, Any]]:
        with self.changed:
            if "index" in query:
                wait = float(query["wait"].removesuffix("ms")) / 1000
                self.changed.wait_for(
                    lambda: self.closed or self.index != int(query["index"]), timeout=wait
                )
            found = [job for name, job in self.jobs.items() if name.startswith(query["prefix"])]
            if "filter" in query:
                found = [job for job in found if job.status != "dead"]
            return [job.shown() for job in found]

    def _job(self, request: Request, name: str) -> tuple[int, Any]:
        verb = name.rpartition("/")[2]
        if verb in ("dispatch", "evaluate", "allocations", "evaluations"):
            name = name.rpartition("/")[0]
        if verb == "dispatch":
            return 200, self._dispatch(name, request)
        if name not in self.jobs:
            return (200, []) if verb in ("allocations", "evaluations") else (404, "job not found")
        job = self.jobs[name]
        if verb == "allocations":
            return 200, job.allocations
        if verb == "evaluations":
            return 200, job.evaluations
        if request.method == "DELETE":
            priority = int(request.query.get("eval_priority", "50"))
            stopped = {"ID": "s", "TriggeredBy": "job-deregister", "Priority": priority}
            self.change(lambda: self._deregister(job, stopped))
        return 200, job.shown()

    def _deregister(self, job: RecordedJob, evaluation: dict[str, Any]) -> None:
        job.status, job.stop = "dead", True
        job.evaluations.append(evaluation)

    def _dispatch(self, parent: str, request: Request) -> dict[str, Any]:
        token = request.query.get("idempotency_token", "")
        for job in self.jobs.values():
            if job.token == token and token:
                return {"DispatchedJobID": job.name}
        name = f"{parent}/dispatch-{request.body['IdPrefixTemplate']}-1-{len(self.jobs):08x}"
        made = RecordedJob(name, request.body["Meta"], token, **self.fresh)
        self.change(lambda: self.jobs.setdefault(name, made))
        return {"DispatchedJobID": name, "EvalID": "e"}


@contextmanager
def recorded_nomad() -> Iterator[RecordedNomad]:
    """A server on a free loopback port while the block lasts."""
    nomad = RecordedNomad()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(nomad))
    server.daemon_threads = True
    nomad.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield nomad
    finally:
        nomad.change(lambda: setattr(nomad, "closed", True))
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(nomad: RecordedNomad) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet, or the client waits 40 ms for the second

        def _serve(self) -> None:
            url = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            query = {name: values[-1] for name, values in parse_qs(url.query).items()}
            status, reply = nomad.answer(Request(self.command, unquote(url.path), query, body))
            if status == HANG_UP:
                self.close_connection = True
                return
            data = reply if isinstance(reply, bytes) else _encoded(reply)
            self.send_response(status)
            self.send_header("X-Nomad-Index", str(nomad.index))
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # whoever asked has left
                self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 (the names are given)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler


def _encoded(reply: Any) -> bytes:
    return reply.encode() if isinstance(reply, str) else json.dumps(reply).encode()


def allocation(status: str, *events: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An allocation whose task had these events."""
    state = {"State": "dead", "Failed": status == "failed", "Events": list(events)}
    facts = {"ID": "a" * 36, "ClientStatus": status, "DesiredStatus": "run", "NodeName": "node-1"}
    created = {"CreateIndex": 5, "ModifyTime": time.time_ns()}
    return {**facts, **created, "TaskStates": {"job": state}, **more}


def event(kind: str, message: str = "", **details: str) -> dict[str, Any]:
    """An event of a task."""
    facts = {"Type": kind, "Time": time.time_ns(), "DisplayMessage": message}
    return {**facts, "Details": details}


def ended(code: int = 0, number: int = 0, oom: str = "false") -> dict[str, Any]:
    """The event of a program's end, as drivers report it."""
    return event("Terminated", exit_code=str(code), signal=str(number), oom_killed=oom)
