"""Why a child ended, from its allocations, the events of its task, and who stopped it.

Nomad calls a child `dead` whether it succeeded, failed or was stopped, and may call it so too early;
what counts is its newest allocation. Nomad itself replaces one that was lost, preempted or drained,
so those are an end only where no other follows.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Sequence

from pipelines.runners.memory import memory_evidence
from pipelines.runners.nomad.client import NomadClient, NotThere
from pipelines.runners.nomad.contract import STOP_PRIORITIES, TASK
from pipelines.runners.nomad.records import Allocation, Evaluation, Event
from pipelines.runners.states import Ended, Kind, Vanished, kind_of

LogTail = Callable[[], bytes]

#: Events by which a task fails without its program having ended.
EVENT_KINDS = {
    "Driver Failure": Kind.DRIVER,
    "Setup Failure": Kind.DRIVER,
    "Failed Validation": Kind.DRIVER,
    "Task hook failed": Kind.DRIVER,
    "Failed Restoring Task": Kind.LOST,
    "Failed Artifact Download": Kind.ARTIFACT_DOWNLOAD,
    "Disk Resources Exceeded": Kind.EXIT,
}
#: Shells and docker return 128 + the signal's number for what a signal ended.
SIGNAL_BASE, SIGNALS = 128, 64
#: What Nomad says when it ended a task at the limit of its group (`max_run_duration`).
OUT_OF_TIME = "max_run_duration"
#: Words for a SIGKILL that nobody owned up to.
PROBABLY_OOM = (
    "killed by SIGKILL, and nobody asked for it: probably out of memory (the driver does not say)"
)


def verdict(client: NomadClient, child: str, log: LogTail) -> Ended | Vanished | None:
    """How a child ended; None while it has not.

    Args:
        log: the end of its log, read only where the end may be a case of memory.

    Raises:
        NomadAway, NomadRefused.
    """
    newest = next(iter(reversed(client.allocations(child))), None)
    if newest is not None and newest.is_over and not _was_stopped(newest):
        return ended_by_itself(newest, log)
    try:
        job = client.job(child)
    except NotThere:
        return Vanished("its job is gone from Nomad")
    if job.stop:
        going = newest is not None and not newest.is_over
        return None if going else ended_by_stop(newest, client.evaluations(child))
    if job.status != "dead" or (newest is not None and not newest.is_over):
        return None
    if newest is not None and _is_preempted(newest):
        return Ended(None, None, Kind.PREEMPTED, reason=newest.desired_description)
    return Ended(None, None, Kind.LOST, reason="Nomad gave it up before its task had ended")


def ended_by_itself(allocation: Allocation, log: LogTail) -> Ended:
    """How an allocation ended that nobody stopped."""
    if allocation.client_status == "lost":
        reason = f"its node {allocation.node_name} was lost"
        return Ended(None, None, Kind.LOST, reason=reason)
    events = _events(allocation)
    said = _said(allocation, events)
    if OUT_OF_TIME in said:
        return Ended(None, None, Kind.TIMEOUT, reason=said)
    terminated = _last(events, ["Terminated"])
    if terminated is not None and _is_of_program(terminated):
        return _terminated(terminated, log)
    failed = _last(events, EVENT_KINDS)
    kind = EVENT_KINDS[failed.type] if failed else Kind.DRIVER
    reason = failed.display_message if failed else said
    return Ended(None, None, kind, reason=" ".join(reason.split()))


def ended_by_stop(allocation: Allocation | None, evaluations: Iterable[Evaluation]) -> Ended:
    """How a child ended that was deregistered; the allocation is None if it was never placed."""
    cause = _cause(evaluations)
    code, number = (
        _outcome(_last(_events(allocation), ["Terminated"])) if allocation else (None,) * 2
    )
    if cause is None:
        return Ended(code, number, Kind.KILLED, reason="somebody stopped it in Nomad")
    reasons = {
        "stopped": "stopped on request",
        "timeout": "the deadline of the attempt passed",
        "no-room": "the deadline passed before there was room",
        "no-fit": "no node can ever take it",
    }
    return Ended(code, number, kind_of(code, number, cause), reason=reasons[cause])


def _cause(evaluations: Iterable[Evaluation]) -> str | None:
    """The cause for which penstock stopped a child; None where it was somebody else."""
    causes = {priority: cause for cause, priority in STOP_PRIORITIES.items()}
    found = [causes.get(e.priority) for e in evaluations if e.triggered_by == "job-deregister"]
    return next((cause for cause in found if cause), None)


def _was_stopped(allocation: Allocation) -> bool:
    """Whether Nomad was told to end it, before it ended by itself."""
    if allocation.desired_status not in ("stop", "evict"):
        return False
    events = _events(allocation)
    first = next((e for e in events if e.type in ("Terminated", "Killing", "Killed")), None)
    return first is None or first.type != "Terminated"


def _is_preempted(allocation: Allocation) -> bool:
    return allocation.desired_status == "evict" or bool(allocation.preempted_by_allocation)


def _is_of_program(event: Event) -> bool:
    """Whether the event tells of an end of the program, rather than that it never started."""
    return "exit_code" in (event.details or {})


def _terminated(event: Event, log: LogTail) -> Ended:
    """How a task ended whose program returned, or was killed by something outside Nomad."""
    code, number = _outcome(event)
    if (event.details or {}).get("oom_killed") == "true":
        return Ended(code, number, Kind.OOM, reason="the kernel ended it at its memory limit")
    if number == signal.SIGKILL:
        return Ended(code, number, Kind.OOM, reason=PROBABLY_OOM)
    kind = kind_of(code, number)
    if kind in (Kind.EXIT, Kind.SIGNAL):
        evidence = memory_evidence(code, number, 0.0, 1, False, log())
        if evidence:
            return Ended(code, number, Kind.OOM, reason=evidence)
    return Ended(code, number, kind)


def _outcome(event: Event | None) -> tuple[int | None, int | None]:
    """Exit code and signal, of which one is None, as the runners' states have them."""
    details = (event.details if event else None) or {}
    code, number = _int(details.get("exit_code")), _int(details.get("signal"))
    if code is not None and not number and SIGNAL_BASE < code <= SIGNAL_BASE + SIGNALS:
        number = code - SIGNAL_BASE
    return (None, number) if number else (code, None)


def _int(text: str | None) -> int | None:
    return int(text) if text is not None and text.lstrip("-").isdigit() else None


def _events(allocation: Allocation | None) -> Sequence[Event]:
    state = ((allocation.task_states if allocation else None) or {}).get(TASK)
    return (state.events if state else None) or []


def _last(events: Iterable[Event], types: Iterable[str]) -> Event | None:
    wanted = set(types)
    found = [event for event in events if event.type in wanted]
    return found[-1] if found else None


def _said(allocation: Allocation, events: Iterable[Event]) -> str:
    """What Nomad says about an end, for people."""
    killing = _last(events, ["Killing"])
    words = (killing.display_message if killing else "", allocation.client_description)
    return "; ".join(word for word in words if word)
