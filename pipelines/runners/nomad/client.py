"""Nomad's HTTP API as far as the runner needs it: typed replies, errors that say what to do.

Over python-nomad, by its generic requests: its `dispatch_job` sends the idempotency token in the
body, where Nomad does not look; its typed calls drop headers (`X-Nomad-Index`) and parameters, and
leave certificates unverified.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import msgspec
import requests
from nomad import Nomad  # type: ignore[attr-defined]  # mypy sees the folder nomad/, all HCL
from nomad.api.exceptions import BaseNomadException

from pipelines.runners.nomad.contract import Dispatch
from pipelines.runners.nomad.errors import (
    NomadAway,
    NomadRefused,
    NomadUntrusted,
    NotRegistered,
)
from pipelines.runners.nomad.records import (
    Allocation,
    Dispatched,
    Evaluation,
    Job,
    JobStub,
    Node,
)
from pipelines.runners.nomad.transport import SHORT, WAITING, Access, Line
from pipelines.runners.protocol import AttemptReference
from registry.decoders import decoder
from registry.errors import PenstockError

T = TypeVar("T")

#: Seconds to connect, and to wait for an answer.
CONNECT, ANSWER = 5.0, 30.0
#: Nomad adds up to a sixteenth to the time that a blocking query may take.
JITTER = 1 / 16


#: What Nomad says, with status 500, of a dispatch that does not fit its parent.
_REQUEST = re.compile(r"payload|metadata keys|required meta keys", re.IGNORECASE)
_PARENT = re.compile(r"is not a parameterized job|is stopped|job not found")


class Listing(NamedTuple):
    """The jobs that a list showed, and the index from which to wait for a change of it."""

    jobs: list[JobStub]
    at: int


@dataclass(frozen=True)
class _Doing:
    """What a request is for, in words for people, and the capability that it takes."""

    what: str
    capability: str


_LIST = _Doing("list jobs", "list-jobs")
_READ = _Doing("read jobs", "read-job")
_DISPATCH = _Doing("dispatch jobs", "dispatch-job")
_STOP = _Doing("stop jobs", "submit-job")
_EVALUATE = _Doing("evaluate jobs", "submit-job")
_LOGS = _Doing("read logs", "read-logs")
_NODES = _Doing("read nodes", "node:read (not of a namespace)")


class NotThere(PenstockError):
    """Nomad knows no such thing (404)."""


class NomadClient:
    """One cluster, namespace and token. Safe to use from many threads at once."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._short, self._waiting = Line(access, SHORT), Line(access, WAITING)
        self._api, self._waits = _api(access, self._short), _api(access, self._waiting)

    def children(
        self, prefix: str, *, live: bool = False, index: int = 0, wait: float = 0.0
    ) -> Listing:
        """The jobs whose ids start with `prefix`, with their meta.

        Args:
            live: leave out those that are dead; there are hours' worth of them.
            index: answer when the list has changed since then; 0: at once.
            wait: seconds after which to answer all the same.

        Raises:
            NomadAway, NomadRefused.
        """
        params = {"prefix": prefix, "meta": "true"}
        if live:
            params["filter"] = 'Status != "dead"'
        if index:
            params |= {"index": str(index), "wait": f"{max(1, round(wait * 1000))}ms"}
        api, timeout = (self._waits, wait * (1 + JITTER) + ANSWER) if index else (self._api, ANSWER)
        reply = self._send(_LIST, api.jobs, params=params, timeout=timeout)
        return Listing(_decoded(reply, list[JobStub]), _index(reply))

    def job(self, name: str) -> Job:
        """A job in full. Raises NotThere, NomadAway, NomadRefused."""
        return _decoded(self._send(_READ, self._api.job, name), Job)

    def allocations(self, name: str) -> list[Allocation]:
        """The placements of a job, oldest first; none of a job that is not there."""
        reply = self._send(_READ, self._api.job, name, "allocations")
        return sorted(_decoded(reply, list[Allocation]), key=lambda each: each.create_index)

    def allocation(self, name: str) -> Allocation:
        """One allocation by its id. Raises NotThere, NomadAway, NomadRefused."""
        return _decoded(self._send(_READ, self._api.allocation, name), Allocation)

    def evaluations(self, name: str) -> list[Evaluation]:
        """What the scheduler did about a job, oldest first."""
        reply = self._send(_READ, self._api.job, name, "evaluations")
        return sorted(_decoded(reply, list[Evaluation]), key=lambda each: each.create_index)

    def blocked(self, prefix: str) -> list[Evaluation]:
        """The evaluations that wait for room, of jobs whose ids start with `prefix`."""
        # The expression language has no prefix match; ids have no other place for this text.
        params = {"filter": f'Status == "blocked" and JobID contains {json.dumps(prefix)}'}
        return _decoded(self._send(_READ, self._api.evaluations, params=params), list[Evaluation])

    def nodes(self) -> list[Node]:
        """Every node, with what it has."""
        params = {"resources": "true"}
        return _decoded(self._send(_NODES, self._api.nodes, params=params), list[Node])

    def dispatch(self, dispatch: Dispatch, reference: AttemptReference) -> str:
        """Dispatch; returns the id of a child that may not exist (see `NomadRunner.start`).

        Raises:
            NotRegistered: there is no such parameterized job, or it is stopped.
            PenstockError: Nomad does not accept the request.
            NomadAway, NomadRefused.
        """
        try:
            reply = self._send(
                _DISPATCH, self._api.job, dispatch.parent, "dispatch", method="post",
                json=dispatch.body(reference), params={"idempotency_token": dispatch.token},
            )  # fmt: skip
        except NotThere as error:
            raise NotRegistered(dispatch.parent, self.access.namespace, error.why) from None
        return _decoded(reply, Dispatched).dispatched_job_id

    def stop(self, name: str, priority: int) -> None:
        """Deregister a job, if it is there; `priority` is that of its evaluation."""
        params = {"eval_priority": str(priority)}
        with contextlib.suppress(NotThere):
            self._send(_STOP, self._api.job, name, method="delete", params=params)

    def evaluate(self, name: str) -> None:
        """Have the scheduler look at a job."""
        body = {"JobID": name, "EvalOptions": {"ForceReschedule": False}}
        self._send(_EVALUATE, self._api.job, name, "evaluate", method="post", json=body)

    def log_tail(self, allocation: str, task: str, stream: str, limit: int) -> bytes:
        """The last `limit` bytes of "stdout" or "stderr". Raises NotThere and the others."""
        params = {
            "task": task, "type": stream, "plain": "true", "origin": "end", "offset": str(limit),
        }  # fmt: skip
        logs = self._api.client.stream_logs
        return self._send(_LOGS, logs, allocation, params=params).content[-limit:]

    def close(self) -> None:
        """Break off what is under way."""
        self._waiting.cut()
        self._short.cut()

    def _send(
        self, doing: _Doing, endpoint: Any, *path: str, method: str = "get",
        params: Mapping[str, str] | None = None, json: Any = None, timeout: float = ANSWER,
    ) -> requests.Response:  # fmt: skip
        # Evaluations and searches are sent without a namespace unless it is given here.
        params = {"namespace": self.access.namespace, **(params or {})}
        try:
            reply: requests.Response = endpoint.request(
                *path, method=method, params=params, json=json, timeout=(CONNECT, timeout)
            )
        except BaseNomadException as error:
            raise self._explained(doing, error.nomad_resp) from None
        return reply

    def _explained(self, doing: _Doing, reply: Any) -> PenstockError:
        """The error that a refusal, or no reply at all, becomes."""
        if isinstance(reply, requests.exceptions.SSLError):
            return NomadUntrusted(self.access.address, _shortened(str(reply)))
        if not isinstance(reply, requests.Response):
            return NomadAway(_shortened(str(reply)))
        text = _shortened(reply.text)
        if reply.status_code == 403:
            token = bool(self.access.token)
            return NomadRefused(doing.what, doing.capability, self.access.namespace, token)
        if reply.status_code == 404 or _means_missing(text):
            return NotThere("Nomad knows no such thing", text)
        if reply.status_code in (400, 413) or _is_final(text):  # 500, although it is the request
            return PenstockError(f"Nomad refused to {doing.what}", text)
        return NomadAway(f"{reply.status_code} {text}")


def _api(access: Access, line: Line) -> Nomad:
    return Nomad(
        address=access.address,
        token=access.token,
        namespace=access.namespace,
        region=access.region,
        verify=(access.ca or True) if access.verify else False,
        cert=access.certificate or (),
        session=line.session,
    )


def _decoded(reply: requests.Response, kind: type[T]) -> T:
    try:
        return decoder(kind).decode(reply.content)
    except msgspec.MsgspecError as error:  # a proxy's page, a reply that was cut off
        raise NomadAway(f"its reply cannot be read: {error}") from None


def _index(reply: requests.Response) -> int:
    text = reply.headers.get("X-Nomad-Index", "0")
    return int(text) if text.isdigit() else 0


def _means_missing(text: str) -> bool:
    """Whether an error of status 500 says that something is not there."""
    return _PARENT.search(text) is not None or "unknown allocation" in text.lower()


def _is_final(text: str) -> bool:
    """Whether an error of status 500 is about the request: it will be the same the next time."""
    return _REQUEST.search(text) is not None


def _shortened(text: str) -> str:
    return " ".join(text.split())[:300]
