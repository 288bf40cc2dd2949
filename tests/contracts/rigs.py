"""Worlds for the contract of runners: how to say what a job does, and how to do it harm."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipelines.runners.folder import JobFolder
from pipelines.runners.launch import Limits
from pipelines.runners.local import LocalRunner
from pipelines.runners.machine import Script, StubMachine
from pipelines.runners.protocol import AttemptReference, Runner
from pipelines.runners.shim import STARTED, lock_is_held, read_record
from pipelines.runners.sizes import SIZES, Capacity
from pipelines.runners.states import Ended, Kind, Vanished
from pipelines.runners.stub import StubRunner
from registry.artifacts.attempt import Attempt, JobSpec, RecipeRecord

#: Long enough for a loaded machine, and only ever waited for by a test that fails.
PATIENCE = 60.0

ROOMY = Capacity(cpus=8, memory_mb=8 * 1024)

REFERENCE = AttemptReference("memory://contract", "attempts/key/1.json", "0" * 64)


@dataclass(frozen=True)
class Does:
    """What a job does: print, then perhaps hold until released, then end."""

    prints: str = ""
    hold: bool = False
    exit_code: int = 0
    signal: int | None = None
    hungry: bool = False


def new_attempt(runner: str = "local", host: str = "here", **changes: Any) -> Attempt:
    """An attempt that nobody has started."""
    recipe = RecipeRecord("model", "contract", 1, {}, {}, {}, None, 0)
    now = time.time()
    values: dict[str, Any] = {
        "key": uuid.uuid4().hex * 2,
        "number": 1,
        "kind": "train",
        "size": "s",
        "runner": runner,
        "host": host,
        "run": "run-1",
        "deadline": now + 3600,
        "created": now,
        "write_id": uuid.uuid4().hex,
        "spec": JobSpec("train", recipe, {}),
    }
    return Attempt(**{**values, **changes})


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait until `condition()` holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.01)


def end_of(runner: Runner, attempt: Attempt) -> Ended:
    """How the attempt ends; fails the test if it does not."""
    ended = runner.wait(attempt, PATIENCE)
    assert ended is not None, "the job did not end"
    return ended


class Rig(Protocol):
    """A world in which one kind of runner runs jobs."""

    #: Whether what is queued survives the runner, rather than being forgotten with it.
    keeps_queue: bool
    #: Whether what is queued first runs first.
    in_order: bool

    def runner(self, capacity: Capacity = ROOMY) -> Runner:
        """A new runner in this world, as another pipeline would make it."""
        ...

    def never_fits_words(self, capacity: Capacity) -> list[str]:
        """What a job of size xl needs, and what there is, as the reason for `no-fit` says it."""
        ...

    def attempt(self, does: Does, **changes: Any) -> Attempt:
        """A new attempt whose job does that."""
        ...

    def runs(self, attempt: Attempt) -> int:
        """How often the attempt's job has run."""
        ...

    def release(self, attempt: Attempt) -> None:
        """Let a job that holds go on."""
        ...

    def kill(self, attempt: Attempt) -> None:
        """Kill the job's process as an impatient person would."""
        ...

    def lose(self, attempt: Attempt) -> None:
        """Make the job vanish as a power cut would."""
        ...

    def close(self) -> None:
        """End what is left."""
        ...


class StubRig:
    """Scripts on a stub machine."""

    keeps_queue = False
    in_order = True

    def __init__(self, folder: Path) -> None:
        del folder
        self._does: dict[str, Does] = {}
        self._runs: Counter[str] = Counter()
        self._machine = StubMachine(ROOMY)

    def runner(self, capacity: Capacity = ROOMY) -> Runner:
        self._machine.capacity = capacity
        return StubRunner(self._work, self._script, self._machine)

    def never_fits_words(self, capacity: Capacity) -> list[str]:
        return [str(SIZES["xl"].memory_mb), str(capacity.memory_mb)]

    def attempt(self, does: Does, **changes: Any) -> Attempt:
        attempt = new_attempt("stub", "", **changes)
        self._does[attempt.write_id] = does
        return attempt

    def runs(self, attempt: Attempt) -> int:
        return self._runs[attempt.write_id]

    def release(self, attempt: Attempt) -> None:
        self._machine.release(attempt)

    def kill(self, attempt: Attempt) -> None:
        self._machine.settle(attempt, Ended(None, int(signal.SIGKILL), Kind.SIGNAL))

    def lose(self, attempt: Attempt) -> None:
        self._machine.settle(attempt, Vanished("power cut"))

    def close(self) -> None:
        self._machine.timers.close()

    def _work(self, attempt: Attempt, reference: AttemptReference) -> None:
        self._runs[attempt.write_id] += 1
        if self._does[attempt.write_id].hungry:
            raise MemoryError

    def _script(self, attempt: Attempt) -> Script:
        does = self._does[attempt.write_id]
        code = None if does.signal else does.exit_code
        return Script(hold=does.hold, exit_code=code, signal=does.signal, log=does.prints.encode())


#: A job of rigs with processes: argv is the marker file, then the fields of `Does`.
JOB = """
import os, sys, time
marker, prints, hold, code, number, hungry = sys.argv[1:]
with open(marker, "a") as file: file.write("ran\\n")
print(prints, end="", flush=True)
while hold == "True" and not os.path.exists(marker + ".go"): time.sleep(0.01)
if hungry == "True": bytearray(1 << 40)
if number != "None": os.kill(os.getpid(), int(number))
sys.exit(int(code))
"""


class LocalRig:
    """Processes of this machine, with their folders below `folder`."""

    keeps_queue = False
    in_order = True

    def __init__(self, folder: Path) -> None:
        self.var = folder / "var"
        self._folder = folder
        self._does: dict[str, Does] = {}
        self._attempts: list[Attempt] = []
        self._lock = threading.Lock()

    def runner(self, capacity: Capacity = ROOMY) -> LocalRunner:
        limits = Limits(grace_s=0.2)
        return LocalRunner(self.var, capacity, command=self.command, host="here", limits=limits)

    def never_fits_words(self, capacity: Capacity) -> list[str]:
        return [str(SIZES["xl"].memory_mb), str(capacity.memory_mb)]

    def attempt(self, does: Does, **changes: Any) -> Attempt:
        attempt = new_attempt(**changes)
        self._does[attempt.write_id] = does
        self._attempts.append(attempt)
        return attempt

    def command(self, attempt: Attempt, reference: AttemptReference) -> list[str]:
        does = self._does[attempt.write_id]
        values = [does.prints, does.hold, does.exit_code, does.signal, does.hungry]
        marker = str(self._marker(attempt))
        return [sys.executable, "-I", "-S", "-c", JOB, marker, *map(str, values)]

    def runs(self, attempt: Attempt) -> int:
        marker = self._marker(attempt)
        return len(marker.read_text().splitlines()) if marker.exists() else 0

    def release(self, attempt: Attempt) -> None:
        self._marker(attempt).with_suffix(".ran.go").touch()

    def folder(self, attempt: Attempt) -> JobFolder:
        return JobFolder(self.var / "jobs", attempt)

    def pid(self, attempt: Attempt, which: str = "pid") -> int:
        """Process id of the job, or of its `shim`."""
        return int(read_record(str(self.folder(attempt).path), STARTED)[which])

    def kill(self, attempt: Attempt) -> None:
        os.kill(self.pid(attempt), signal.SIGKILL)

    def kill_shim(self, attempt: Attempt) -> None:
        os.kill(self.pid(attempt, "shim"), signal.SIGKILL)

    def lose(self, attempt: Attempt) -> None:
        self.kill_shim(attempt)
        os.killpg(self.pid(attempt), signal.SIGKILL)

    def close(self) -> None:
        for attempt in self._attempts:
            folder = self.folder(attempt)
            if lock_is_held(str(folder.lock)):
                folder.ask_to_end("stopped", "the test is over")
                if folder.is_orphan():
                    folder.kill()

    def _marker(self, attempt: Attempt) -> Path:
        return self._folder / f"{attempt.write_id}.ran"


RIGS: dict[str, Callable[[Path], Rig]] = {"stub": StubRig, "local": LocalRig}
