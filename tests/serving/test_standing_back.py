"""Loading leaves the cores to those that answer; a real scheduler, a core of one's own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.descriptors import make_room
from serving.standing_back import is_starved, leave_quietly, stand_back
from tests.serving.conftest import Trained
from tests.serving.rig import Publisher, eventually

BUSY = "while True: pass"


@contextlib.contextmanager
def crowded() -> Iterator[None]:
    """This process, and what it starts, on a single core that somebody else wants as well."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        with subprocess.Popen([sys.executable, "-c", BUSY]) as busy:
            try:
                yield
            finally:
                busy.kill()
    finally:
        os.sched_setaffinity(0, cores)


def in_child(act: Callable[[], bool]) -> bool:
    """What `act` finds in a process of its own: priorities are not given back."""
    pid = os.fork()
    if pid == 0:
        os._exit(0 if act() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def hashing(data: bytes, idle: bool, begun: threading.Event, numbers: list[int]) -> None:
    stand_back(1, idle=idle)
    numbers.append(threading.get_native_id())
    begun.set()
    while numbers:
        hashlib.sha256(data)


@contextlib.contextmanager
def at_work(*, idle: bool) -> Iterator[int]:
    """A thread that stood back and computes, without the interpreter's lock."""
    begun, numbers = threading.Event(), list[int]()
    thread = threading.Thread(target=hashing, args=(bytes(1 << 20), idle, begun, numbers))
    thread.start()
    begun.wait()
    number = numbers[0]
    try:
        yield number
    finally:
        numbers.clear()
        thread.join()


def test_an_idle_thread_beside_a_busy_process_is_starved() -> None:
    with crowded(), at_work(idle=True) as thread:
        assert os.sched_getscheduler(thread) == os.SCHED_IDLE
        eventually("a thread that got no time", lambda: is_starved(thread))


def test_a_thread_that_computes_is_not_starved() -> None:
    with at_work(idle=False) as thread:
        assert os.sched_getscheduler(thread) == os.SCHED_OTHER
        assert os.getpriority(os.PRIO_PROCESS, thread) == os.getpriority(os.PRIO_PROCESS, 0) + 1


def test_the_nicest_cannot_be_nicer() -> None:
    def act() -> bool:
        leave_quietly()
        stand_back(5, idle=False)
        return os.nice(0) == 19

    assert in_child(act)


def test_room_for_descriptors_is_made_before_they_are_needed() -> None:
    def act() -> bool:
        make_room(700)
        fields = dict(
            line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines()
        )
        opened = len(list(Path("/proc/self/fd").iterdir()))
        return int(fields["FDSize"]) >= 700 and opened < 600

    assert in_child(act)


@pytest.mark.parametrize("nice", [0, 5])
def test_a_reload_on_a_busy_core_ends(
    publisher: Publisher, bundles: dict[str, Trained], run: Callable[..., Any], nice: int
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with crowded(), run(serving_load_nice=nice) as service:
        publisher.publish("flights", bundles["lightgbm-2"].folder)
        service.wait_for(2)
    # Who is to take an equal share from the start does not wait for idle cores.
    assert ("loading waits for idle cores no longer" in service.log) == bool(nice)
