"""Tables of states and kinds, and what evidence of memory adds to them."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from pipelines.runners.memory import memory_evidence
from pipelines.runners.shim import exit_of, kernel_kills
from pipelines.runners.states import CAUSES, EXIT_KINDS, KINDS, Kind, Remedy, kind_of, remedy
from registry.errors import Corrupt

DOCS = Path(__file__).resolve().parents[3] / "docs" / "runners.md"


def test_every_kind_has_a_meaning_and_a_remedy():
    assert set(KINDS) == set(Kind)
    assert all(meaning and remedy(kind) in Remedy for kind, (meaning, _) in KINDS.items())


@pytest.mark.parametrize(
    ("exit_code", "number", "cause", "kind"),
    [
        (0, None, None, None),
        (2, None, None, Kind.EXIT),
        (None, 11, None, Kind.SIGNAL),
        (None, 9, "timeout", Kind.TIMEOUT),
        (None, None, "no-room", Kind.TEMPORARY),
    ],
)
def test_kinds_follow_from_facts(exit_code, number, cause, kind):
    assert kind_of(exit_code, number, cause) is kind


@pytest.mark.parametrize("cause", ["", "sunspots"])
def test_an_unknown_cause_fails_loudly(cause):
    with pytest.raises(Corrupt, match="unknown cause"):
        kind_of(None, 9, cause)


def test_an_end_without_any_fact_fails_loudly():
    with pytest.raises(Corrupt, match="damaged"):
        kind_of(None, None)


@pytest.mark.parametrize(
    ("exit_code", "number", "peak", "kernel", "tail", "expected"),
    [
        (1, None, 10, False, b"MemoryError", "its log ends with MemoryError"),
        (70, None, 10, False, b"std::bad_alloc", "its log ends with bad_alloc"),
        (65, None, 10, False, b"MemoryError", ""),
        (0, None, 1000, False, b"MemoryError", ""),
        (1, None, 1000, False, b"KeyError", ""),
        (None, signal.SIGABRT, 10, False, b"std::bad_alloc", "its log ends with bad_alloc"),
        (None, signal.SIGSEGV, 950, False, b"", "killed at a peak of 950 of 1000 MiB"),
        (None, signal.SIGSEGV, 10, False, b"", ""),
        (None, signal.SIGKILL, 10, False, b"MemoryError", ""),
        (None, signal.SIGKILL, 10, True, b"", "the kernel ended processes"),
        (None, signal.SIGTERM, 1000, True, b"MemoryError", ""),
    ],
)
def test_evidence_of_memory(exit_code, number, peak, kernel, tail, expected):
    found = memory_evidence(exit_code, number, peak, 1000, kernel, tail)
    assert found.startswith(expected)
    assert bool(found) == bool(expected)


def test_wait_statuses_are_read():
    assert exit_of(3 << 8) == (3, None)
    assert exit_of(int(signal.SIGKILL)) == (None, 9)
    assert kernel_kills() >= 0
    assert os.waitstatus_to_exitcode(0) == 0


def test_the_page_lists_every_kind_cause_and_exit_code():
    rows = set(re.findall(r"^\| `([^`]+)`", DOCS.read_text(), re.MULTILINE))
    assert {str(kind) for kind in Kind} <= rows
    assert set(CAUSES) <= rows
    assert {str(code) for code in EXIT_KINDS} <= rows
