"""Ends of children, from events recorded from Nomad 1.11.3 or described in its source."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipelines.runners.nomad.failures import ended_by_itself, ended_by_stop
from pipelines.runners.nomad.records import Allocation, Evaluation
from pipelines.runners.states import Ended, Kind
from tests.pipelines.runners.nomad.recorded import allocation, ended, event


def read(recorded: dict[str, Any]) -> Allocation:
    return msgspec.convert(recorded, Allocation)


def verdict_of(recorded: dict[str, Any], log: bytes = b"") -> Ended:
    return ended_by_itself(read(recorded), lambda: log)


@pytest.mark.parametrize(
    ("recorded", "code", "number", "kind"),
    [
        (allocation("complete", ended(0)), 0, None, None),
        (allocation("failed", ended(3)), 3, None, Kind.EXIT),
        (allocation("failed", ended(65)), 65, None, Kind.BAD_DATA),
        (allocation("failed", ended(71)), 71, None, Kind.OOM),
        (allocation("failed", ended(75)), 75, None, Kind.TEMPORARY),
        (allocation("failed", ended(143, 15)), None, 15, Kind.SIGNAL),
        # docker reports 128 + the signal, and no signal
        (allocation("failed", ended(139)), None, 11, Kind.SIGNAL),
        # raw_exec never says that the kernel did it; docker and exec do. Seen with a Nomad built with
        # C: 300 MiB in an `exec` task of 64 MiB end with 137, signal 9, oom_killed true. The one that
        # `make servers` builds has no `exec`, so that event is played back.
        (allocation("failed", ended(137, 9)), None, 9, Kind.OOM),
        (allocation("failed", ended(137, 9, "true")), None, 9, Kind.OOM),
        (allocation("failed", ended(1, 0, "true")), 1, None, Kind.OOM),
        (allocation("lost"), None, None, Kind.LOST),
        (allocation("failed", event("Driver Failure", "no image")), None, None, Kind.DRIVER),
        (allocation("failed", event("Setup Failure", "no disk")), None, None, Kind.DRIVER),
        (allocation("failed", event("Failed Validation")), None, None, Kind.DRIVER),
        (allocation("failed", event("Task hook failed", "vault")), None, None, Kind.DRIVER),
        (
            allocation("failed", event("Failed Artifact Download", "404")),
            None,
            None,
            Kind.ARTIFACT_DOWNLOAD,
        ),
        (allocation("failed", ClientDescription="failed to setup alloc"), None, None, Kind.DRIVER),
    ],
)
def test_events_become_kinds(recorded, code, number, kind):
    end = verdict_of(recorded)
    assert (end.exit_code, end.signal, end.kind) == (code, number, kind)


def test_what_nomad_says_is_the_reason():
    failed = allocation("failed", event("Driver Failure", "no such image: penstock:9"))
    assert verdict_of(failed).reason == "no such image: penstock:9"
    assert "node-1 was lost" in verdict_of(allocation("lost")).reason
    assert "probably" in verdict_of(allocation("failed", ended(137, 9))).reason


def test_a_vault_that_lets_no_task_in_is_named_in_one_line():
    """Recorded: the node gives up after a few tries, and the task ends without having begun."""
    message = "Vault: failed to derive vault token: …\n\nCode: 503. Errors:\n\n* Vault is sealed"
    setup = event("Task Setup", "Building Task Directory")
    end = verdict_of(allocation("failed", setup, event("Killing", message)))
    assert end.kind is Kind.DRIVER
    assert (
        "Vault: failed to derive vault token: … Code: 503. Errors: * Vault is sealed" in end.reason
    )


def test_a_limit_of_the_group_is_a_timeout():
    """`max_run_duration`, since Nomad 2.0.3: the task is killed, and the allocation says why."""
    killed = event("Killing", "Sent interrupt. Waiting 5s before force killing")
    why = "allocation exceeded max_run_duration"
    recorded = allocation("failed", killed, ended(143, 15), ClientDescription=why)
    assert verdict_of(recorded).kind is Kind.TIMEOUT


@pytest.mark.parametrize("end", [ended(1), ended(134, 6)])
def test_the_words_of_the_log_tell_of_memory(end):
    assert verdict_of(allocation("failed", end), b"MemoryError\n").kind is Kind.OOM
    assert verdict_of(allocation("failed", end), b"KeyError\n").kind in {Kind.EXIT, Kind.SIGNAL}


def test_the_log_is_not_read_where_the_code_speaks():
    def log() -> bytes:
        raise AssertionError("read")

    for code in (0, 65, 71, 75):
        ended_by_itself(read(allocation("complete", ended(code))), log)


@pytest.mark.parametrize(
    ("priority", "kind"),
    [
        (50, Kind.KILLED),
        (61, Kind.STOPPED),
        (62, Kind.TIMEOUT),
        (63, Kind.TEMPORARY),
        (64, Kind.NO_FIT),
    ],
)
def test_whose_doing_a_stop_was_is_told_by_its_priority(priority, kind):
    stopped = Evaluation("e", triggered_by="job-deregister", priority=priority)
    other = Evaluation("f", triggered_by="job-register", priority=61)
    recorded = allocation("complete", event("Killing"), ended(143, 15), DesiredStatus="stop")
    for placed in (read(recorded), None):
        assert ended_by_stop(placed, [other, stopped]).kind is kind
