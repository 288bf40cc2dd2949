"""Overload: five times what a slow model can do, asked by clients that do not wait for one another.

`python -m tests.benchmarks.overload [PEERS] [--seconds 20] [--batch-ms 20]`. A real service with two
workers whose model sleeps for each batch. The generator is an open loop: requests leave at random
(Poisson) moments whatever is answered, each on a connection that is free. Times run from the last
byte of a request to the last of its answer, as this process sees them.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.open_loop import Generator
from tests.serving.conftest import BODIES
from tests.serving.moody import ENVIRONMENT, moody
from tests.serving.rig import Publisher, service

WORKERS, BATCH, FACTOR = 2, 4, 5


def main() -> int:
    """Measure and print; judges nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peers", nargs="?", help="not used")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--batch-ms", type=float, default=20.0)
    words = parser.parse_args()
    capacity = WORKERS * BATCH / words.batch_ms * 1e3
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        publisher = Publisher(Path(name))
        publisher.environment.update(ENVIRONMENT)
        bundle = moody(Path(name) / "slow", 1.0, mood="slow", seconds=words.batch_ms / 1e3)
        publisher.publish("flights", bundle)
        limits: dict[str, Any] = {
            "serving_workers": WORKERS, "serving_max_batch_size": BATCH,
            "serving_max_queue_wait_ms": 1.5 * words.batch_ms,
        }  # fmt: skip
        with service(publisher, Path(name) / "service", "flights", **limits) as running:
            for rate in (capacity / 40, capacity / 2, FACTOR * capacity):
                generator = Generator(running.address, "/invocations", BODIES[:1])
                asyncio.run(generator.run(rate, words.seconds))
                print(
                    f"  {rate / capacity:5.3g} x capacity, {rate:.0f} requests/s: {told(generator)}",
                    flush=True,
                )
    return 0


def told(generator: Generator) -> str:
    """What came back, in words."""
    times: dict[int, list[float]] = {}
    for answer in generator.answers:
        times.setdefault(answer.status, []).append(answer.seconds)
    rows = "; ".join(_row(status, found) for status, found in sorted(times.items()))
    lateness = f"; {generator.late} left over 50 ms late" if generator.late else ""
    return f"{rows}; {len(generator.clients)} connections{lateness}"


def _row(status: int, seconds: list[float]) -> str:
    cuts = statistics.quantiles(seconds, n=100) if len(seconds) > 1 else seconds * 99
    return f"{len(seconds)} × {status}: p50 {cuts[49] * 1e3:.1f} ms, p99 {cuts[98] * 1e3:.1f} ms"


if __name__ == "__main__":
    raise SystemExit(main())
