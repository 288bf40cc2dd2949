"""Run by each Python that finds this folder on PYTHONPATH: use cases of `team`, and faults by request.

`FAULT=KILL` or `STOP` sends that signal to workers at random boundaries of frames, at most one in
`FAULT_EVERY` seconds, each noted in the file `FAULT_LOG`. `LEAK_BYTES` makes a gateway keep so many
bytes for each link that it closes: the leak that a soak must catch. A gateway that is about to predict
removes the file `INLINE_CRASH` if it is there, and ends as a fault of memory ends a process.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import usecases

usecases.__path__.append(str(Path(__file__).parent / "team"))

#: A batch was received; it is computed; its answer is written, but not sent; it is sent.
BOUNDARIES = ("received", "computed", "written", "sent")

#: Batches that a worker answers between two hits of any worker.
PEACE = 10


class Faults:
    """Decides at each batch whether this worker is hit, and at which boundary."""

    def __init__(self) -> None:
        self._signal = getattr(signal, f"SIG{os.environ['FAULT']}")
        self._every = float(os.environ["FAULT_EVERY"])
        self._log = Path(os.environ["FAULT_LOG"])
        self._chosen = ""
        self._last = 0.0
        self._batches = 0

    def choose(self) -> None:
        """Take one of the boundaries, if the last hit of any worker is long enough ago.

        Rows that were hit come first again. Until this worker has answered others, they may be
        among its rows; hit twice, they would rightly be taken for poison.
        """
        last = self._log.stat().st_mtime
        self._batches = self._batches + 1 if last == self._last else 0
        self._last = last
        due = time.time() - last > self._every and self._batches > PEACE
        self._chosen = random.choice(BOUNDARIES) if due else ""

    def at(self, boundary: str) -> None:
        """The boundary is reached."""
        if boundary != self._chosen:
            return
        self._chosen = ""
        with self._log.open("a") as log:
            log.write(f"{boundary} {os.getpid()} {time.time()}\n")
        os.kill(os.getpid(), self._signal)


def replace(kind: Any, **methods: Any) -> None:
    """Give a class other methods."""
    for name, method in methods.items():
        assert hasattr(kind, name), f"{kind} has no {name} any more"
        setattr(kind, name, method)


def hurt_workers() -> None:
    """Put the faults around what a worker does with a frame."""
    from serving.link import WorkerEnd

    faults = Faults()
    receive, outputs, answer = WorkerEnd.receive, WorkerEnd.outputs, WorkerEnd.answer

    def receiving(end: WorkerEnd) -> Any:
        frame = receive(end)
        faults.choose()
        faults.at("received")
        return frame

    def computed(end: WorkerEnd, frame: Any) -> Any:
        faults.at("computed")
        return outputs(end, frame)

    def answering(end: WorkerEnd, *about: Any) -> None:
        faults.at("written")
        answer(end, *about)
        faults.at("sent")

    replace(WorkerEnd, receive=receiving, outputs=computed, answer=answering)


def leak() -> None:
    """Keep something for each link that is closed."""
    from serving.gateway.lane import Lane

    kept: list[bytes] = []
    drop = Lane.drop

    def leaking(self: Lane, *about: Any) -> None:
        kept.append(os.urandom(int(os.environ["LEAK_BYTES"])))
        drop(self, *about)

    replace(Lane, drop=leaking)


def crash_inline() -> None:
    """End the gateway in place of the evaluator."""
    from serving.gateway.inline import Inline

    wanted = Path(os.environ["INLINE_CRASH"])
    predict = Inline.predict

    def crashing(self: Inline, rows: Any) -> Any:
        if wanted.exists():
            wanted.unlink()
            os.kill(os.getpid(), signal.SIGSEGV)
        return predict(self, rows)

    replace(Inline, predict=crashing)


if "FAULT" in os.environ:
    hurt_workers()
if "LEAK_BYTES" in os.environ:
    leak()
if "INLINE_CRASH" in os.environ:
    crash_inline()
