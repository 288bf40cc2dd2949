"""Races between threads and between processes, started together from a barrier."""

from __future__ import annotations

import functools
import multiprocessing
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

PATIENCE = 60.0
#: Loaded once, so that a process costs a fork instead of a start of Python.
_PRELOAD = [
    "registry.artifacts.store.objects",
    "tests.campaigns.writer",
    "tests.campaigns.pipeline",
]


@functools.cache
def processes() -> Any:
    """Where processes of tests come from: forks of a server that has no threads.

    They see the environment of the server's start, not this process's: hand them what they need.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    return context


def race_threads(count: int, act: Callable[[int], Any]) -> list[Any]:
    """Call `act(number)` in `count` threads at once; the results in the order of their numbers."""
    barrier = threading.Barrier(count)

    def run(number: int) -> Any:
        barrier.wait(PATIENCE)
        return act(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def race_processes(count: int, act: Callable[..., Any], *words: Any) -> list[Any]:
    """Call `act(number, barrier, *words)` in `count` processes; their results by number.

    `act` is a function of a module, and waits at the barrier itself, once for each round.
    """
    context = processes()
    barrier = context.Barrier(count)
    results = context.SimpleQueue()
    env = dict(os.environ)
    children = [
        context.Process(target=_child, args=(results, env, act, number, barrier, words))
        for number in range(count)
    ]
    for child in children:
        child.start()
    found = dict(results.get() for _ in children)
    for child in children:
        child.join(PATIENCE)
        child.close()
    results.close()
    failures = [value for value in found.values() if isinstance(value, Exception)]
    if failures:
        raise failures[0]
    return [found[number] for number in range(count)]


def _child(
    results: Any,
    env: Mapping[str, str],
    act: Callable[..., Any],
    number: int,
    barrier: Any,
    words: Any,
) -> None:
    os.environ.update(env)
    try:
        results.put((number, act(number, barrier, *words)))
    except Exception as error:  # noqa: BLE001 (handed to the parent, which raises it)
        barrier.abort()
        results.put((number, RuntimeError(f"writer {number}: {error!r}")))
