"""Named places where a test can kill the process, to prove that a crash there loses nothing.

With `PENSTOCK_CRASH_AT=name` (or `name:3` for the third hit) the process appends the name to the
file `PENSTOCK_CRASH_LOG` and sends itself SIGKILL, as a power cut or the OOM killer would. Without
the variable a point costs one comparison. Standard library only: the job shim imports it too.
"""

from __future__ import annotations

import os
import signal

#: Every point there is. A point that is not listed here is a defect, so that tests can walk them.
POINTS: tuple[str, ...] = (
    "attempt.before_create",
    "attempt.after_create",
    "collect.after_plan",
    "collect.before_manifest",
    "collect.after_manifest",
    "collect.between_files",
    "collect.before_done",
    "commit.before_data",
    "commit.between_files",
    "commit.after_data",
    "commit.after_verify",
    "commit.after_manifest",
    "copy.before_manifest",
    "copy.after_manifest",
    "dispatch.before_start",
    "dispatch.after_start",
    "dispatch.after_end",
    "publish.before_decision",
    "publish.after_decision",
    "publish.after_head",
    "runner.before_spawn",
    "runner.after_spawn",
    "score.before_record",
    "score.after_record",
    "score.before_target",
    "score.after_target",
    "shim.before_exit_file",
    "shim.after_exit_file",
    "store.before_link",
    "store.after_link",
)

_target, _, _nth = os.environ.get("PENSTOCK_CRASH_AT", "").partition(":")
_left = int(_nth or 1)


def crashpoint(name: str) -> None:
    """Kill this process here when the environment names this point; otherwise do nothing."""
    if name == _target:
        _hit(name)


def _hit(name: str) -> None:
    global _left
    _left -= 1
    if _left > 0:
        return
    log = os.environ.get("PENSTOCK_CRASH_LOG")
    if log:
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(descriptor, f"{name}\n".encode())
        os.close(descriptor)
    os.kill(os.getpid(), signal.SIGKILL)
