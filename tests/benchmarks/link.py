"""What it costs to hand a row to a worker and its answer back, and what one more worker costs.

```
python -m tests.benchmarks.link
```

The worker is a real one, in a process of its own, whose model copies a column, so that all there is
to measure is the way there and back. CPU is that of both processes. Twice: the *link* alone, rows of
the requests copied one by one into a buffer of the arena, frame, predict, frame, each answer copied
out; and the *full path* inside the gateway, with the requests' admission, queue and batches as well.
"""

from __future__ import annotations

import asyncio
import os
import select
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from registry.models.signature import Input, Matrix, Output, Signature
from serving.arena import Layout
from serving.channel import Channel
from serving.gateway.catalog import Catalog
from serving.gateway.served import Served
from serving.gateway.work import Work
from serving.link import GatewayEnd, create_link
from serving.messages import Announce, Attach
from serving.options import Options
from serving.worker import Worker
from tests.serving import models
from tests.serving.rig import Publisher, service

COLUMNS = 28
SECONDS = 3.0
IN_FLIGHT = (64, 16, 1)
SIGNATURE = Signature(
    inputs=tuple(Input(f"x{i}", "float64") for i in range(COLUMNS)), outputs=(Output("y"),)
)


LAYOUT = Layout(Options().max_batch_size, COLUMNS, 1)


class Copy:
    """A model that answers with its first column."""

    def predict(self, matrix: Matrix) -> Matrix:
        return matrix[:, :1]


@contextmanager
def worker(layout: Layout) -> Iterator[tuple[int, list[int]]]:
    """A worker that serves one link, until the block ends; its pid, and the gateway's descriptors."""
    link = create_link(layout)
    ours, theirs = Channel.pair()
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            Worker(theirs, Copy()).run()  # type: ignore[arg-type]
        finally:
            os._exit(0)
    theirs.close()
    ours.send(Attach(layout).encode(), link.for_worker)
    descriptors = [os.dup(each) for each in link.for_gateway]
    link.close()
    try:
        yield pid, descriptors
    finally:
        ours.close()
        os.waitpid(pid, 0)


def spent(pid: int) -> float:
    """Seconds of CPU that a process has had, to the nanosecond."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


Cost = tuple[float, float, float]
"""CPU µs a row in the gateway and in the worker, and rows a second."""


class Meter:
    """Counts from when it is made."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._begun = time.monotonic()
        self._own, self._other = spent(os.getpid()), spent(pid)

    @property
    def over(self) -> bool:
        """Whether it has been measured for long enough."""
        return time.monotonic() - self._begun > SECONDS

    def cost(self, rows: int) -> Cost:
        """What `rows` rows cost since."""
        seconds = time.monotonic() - self._begun
        own, other = spent(os.getpid()) - self._own, spent(self._pid) - self._other
        return own / rows * 1e6, other / rows * 1e6, rows / seconds


def link_alone(in_flight: int, pid: int, descriptors: list[int]) -> Cost:
    """Batches of `in_flight` rows, one after the other."""
    link: GatewayEnd[int] = GatewayEnd(LAYOUT, descriptors)
    rows = [np.full((1, COLUMNS), number, np.float64) for number in range(in_flight)]
    poll = select.poll()
    poll.register(link.fileno(), select.POLLIN)

    def fill(buffer: Matrix) -> None:
        for number, row in enumerate(rows):
            buffer[number : number + 1] = row

    meter, done = Meter(pid), 0
    while not meter.over:
        link.lend(done, in_flight, fill)
        poll.poll()
        ((loan, _),) = link.collect()
        outputs = link.outputs(loan)
        answers = [outputs[number : number + 1].copy() for number in range(in_flight)]
        done += len(answers)
        del outputs  # of the arena, which is unmapped below
    cost = meter.cost(done)
    link.close()
    return cost


async def full_path(in_flight: int, pid: int, descriptors: list[int]) -> Cost:
    """Requests of one row, `in_flight` at a time; each that is answered is followed by another."""
    loop = asyncio.get_running_loop()
    clock, options = time.monotonic, Options()
    catalog = Catalog(["m"], options, loop, clock)
    served = Served(Announce("m", 1, "champion", 1, "0" * 64, "", 0.0, "bench"), SIGNATURE)
    dispatcher = catalog.find("m")
    dispatcher.flip(served)
    dispatcher.connect(served, 1, GatewayEnd(LAYOUT, descriptors))
    row = np.arange(COLUMNS, dtype=np.float64).reshape(1, COLUMNS)
    ended, done = loop.create_future(), 0
    meter = Meter(pid)

    def finish(work: Work) -> None:
        nonlocal done
        done += 1
        assert work.result is not None
        if not meter.over:
            admit()
        elif not ended.done():
            ended.set_result(None)

    def admit() -> None:
        dispatcher.submit(Work(row, served.encoding, None, clock() + 60, finish))

    for _ in range(in_flight):
        admit()
    await ended
    cost = meter.cost(done)
    dispatcher.retire(served, lambda: None)
    return cost


def measure_hand_over() -> None:
    """Print what a row costs on its way to a worker and back."""
    print("            in flight   CPU µs a row: gateway  worker   both    rows/s")
    for in_flight in IN_FLIGHT:
        for name in ("link", "full path"):
            with worker(LAYOUT) as (pid, descriptors):
                if name == "link":
                    cost = link_alone(in_flight, pid, descriptors)
                else:
                    cost = uvloop.run(full_path(in_flight, pid, descriptors))
            gateway, other, rate = cost
            both = gateway + other
            print(f"{name:10} {in_flight:10} {gateway:23.2f} {other:7.2f} {both:6.2f} {rate:9,.0f}")


def pages(pid: int) -> dict[str, float]:
    """MB of a process: `Pss`, and `Uss`, which would be free without it."""
    rows: dict[str, float] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split(":")
        rows[name] = int(value.split()[0]) / 1024
    return rows | {"Uss": rows["Private_Clean"] + rows["Private_Dirty"]}


def measure_workers(folder: Path) -> None:
    """The pages of the last of several workers that serve one model."""
    bundle: Any = models.train(folder / "bundle", flavor="lightgbm", seed=1)
    publisher = Publisher(folder)
    publisher.publish("flights", bundle.folder)
    with service(publisher, folder / "service", "flights", serving_workers=4) as running:
        for _ in range(200):
            running.revision()
        found = [pages(pid) for pid in running.processes("pen:flights")]
    for name in ("Uss", "Pss", "Rss"):
        print(f"a worker, {name.upper()} MB: {', '.join(f'{each[name]:.1f}' for each in found)}")


def main() -> int:
    """Measure and print."""
    measure_hand_over()
    with tempfile.TemporaryDirectory() as folder:
        measure_workers(Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
