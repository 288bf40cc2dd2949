"""Races between threads and between processes, started together from a barrier."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

PATIENCE = 60.0


def race_threads(count: int, act: Callable[[int], Any]) -> list[Any]:
    """Call `act(number)` in `count` threads at once; the results in the order of their numbers."""
    barrier = threading.Barrier(count)

    def run(number: int) -> Any:
        barrier.wait(PATIENCE)
        return act(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def race_processes(count: int, act: Callable[..., Any], *words: Any) -> list[Any]:
    """Call `act(number, barrier, *words)` in `count` fresh processes; their results by number.

    `act` is a function of a module, and waits at the barrier itself, once for each round.
    """
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(count)
    results = context.SimpleQueue()
    children = [
        context.Process(target=_child, args=(results, act, number, barrier, words), daemon=True)
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


def _child(results: Any, act: Callable[..., Any], number: int, barrier: Any, words: Any) -> None:
    try:
        results.put((number, act(number, barrier, *words)))
    except Exception as error:  # noqa: BLE001 (handed to the parent, which raises it)
        barrier.abort()
        results.put((number, RuntimeError(f"writer {number}: {error!r}")))
