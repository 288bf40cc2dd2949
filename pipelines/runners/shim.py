"""The parent of one job on this machine: starts it, watches it, writes down how it ended.

    python -I -S shim.py FOLDER LOCK

The local runner starts one shim per job, in a session of its own, and forgets about it: the shim
and its job outlive the pipeline. FOLDER holds `job.json`; LOCK is the number of an inherited
descriptor whose `flock` shim and job share, so the lock is held exactly as long as one of them
lives, however the other died. What is printed goes straight to the log file and not through the
shim, so a job survives the death of its shim too.

A script of the standard library alone: it starts in hundredths of a second and takes 10 MiB, most
of which every job of a machine pays for. `os.path`, not `pathlib`, for the same reason.
"""
# ruff: noqa: PTH100, PTH110, PTH118, PTH120, PTH123

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

# Imported by path, after the standard library: -I leaves the program's own folder out.
sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
from registry.crashpoints import crashpoint

#: Files of a job's folder. The runner writes `job.json` and `stop.json`, the shim the others; the
#: job prints into the log.
JOB, STARTED, STOP, EXIT, LOG = "job.json", "started.json", "stop.json", "exit.json", "log"

#: How often the shim looks at the clock, the log and a request to stop, in seconds.
PAUSE_S = 0.5


class Ending(NamedTuple):
    """How a job ended: wait status, usage, and why the shim ended it (None: by itself)."""

    status: int
    usage: resource.struct_rusage
    cause: str | None
    reason: str


def main(folder: str, lock: int) -> None:
    """Run the job of `folder` to its end; `lock` is the descriptor that says it is running."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    job = read_record(folder, JOB)
    wake = wake_on_child_end()
    kills = kernel_kills()
    begun = time.monotonic()
    pid, go = fork_job(job, lock)
    announce(folder, pid)
    with contextlib.suppress(BrokenPipeError):  # it was killed while it waited
        os.write(go, b"g")
    os.close(go)
    ending = watch(folder, job, pid, wake)
    end = exit_record(job, ending, kernel_kills() > kills)
    end["wall_s"] = round(time.monotonic() - begun, 3)
    bound_log(job["log_limit"])
    crashpoint("shim.before_exit_file")
    write_record(folder, EXIT, end)
    crashpoint("shim.after_exit_file")


def fork_job(job: dict[str, Any], lock: int) -> tuple[int, int]:
    """Fork the job, which waits; returns its process id and the descriptor that lets it go.

    It waits until its process id is on disk: "nothing was announced" then means "nothing ran",
    and such an attempt can be started again.
    """
    hold, go = os.pipe()
    pid = os.fork()
    if pid:
        os.close(hold)
        return pid, go
    try:
        os.close(go)
        os.setsid()
        if os.read(hold, 1) == b"g":
            os.set_inheritable(lock, True)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and so would the job
            limit_memory(job["memory_mb"])
            os.execvp(job["command"][0], job["command"])  # noqa: S606 - a shell is not wanted
    except OSError as error:
        note(f"cannot start {job['command'][0]}: {error}")
    finally:
        os._exit(127)


def limit_memory(memory_mb: int) -> None:
    """Limit private writable memory of this process and what it starts.

    RLIMIT_AS counts address space, of which numeric libraries reserve gigabytes that they never
    touch; RLIMIT_DATA counts what can be written. Core files of such jobs help nobody.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ceiling = resource.getrlimit(resource.RLIMIT_DATA)[1]
    wanted = memory_mb * 2**20
    limit = wanted if ceiling == resource.RLIM_INFINITY else min(wanted, ceiling)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def announce(folder: str, pid: int) -> None:
    """Record the job's process; the lock on the record says, to the end, that the shim lives."""
    record = {"pid": pid, "birth": birth(pid), "shim": os.getpid(), "started": time.time()}
    write_record(folder, STARTED, record, keep_locked=True)


def watch(folder: str, job: dict[str, Any], pid: int, wake: int) -> Ending:
    """Wait for the end of the job, ending it at its deadline or on request."""
    cause, reason = None, ""
    patience = 0.0
    while (reaped := reap(pid)) is None:
        if cause is None:
            cause, reason = why_end(folder, job)
            if cause:
                note(reason)
                signal_group(pid, signal.SIGTERM)
                patience = time.monotonic() + job["grace_s"]
        elif time.monotonic() >= patience:
            signal_group(pid, signal.SIGKILL)
        bound_log(job["log_limit"])
        if select.select([wake], [], [], PAUSE_S)[0]:
            os.read(wake, 4096)
    return Ending(*reaped, cause, reason)


def why_end(folder: str, job: dict[str, Any]) -> tuple[str | None, str]:
    """Whether the job has to end now: the cause, and in words."""
    if os.path.exists(os.path.join(folder, STOP)):
        request = read_record(folder, STOP)
        return request["cause"], request["reason"]
    if time.time() >= job["deadline"]:
        return "timeout", "the deadline of the attempt passed"
    return None, ""


def reap(pid: int) -> tuple[int, resource.struct_rusage] | None:
    """Status and usage of the job when it has ended, None before; ends what it left behind.

    The rest of its group is ended while the job is not reaped yet, where the system lets us look
    first: until then nobody else can be given its number.
    """
    if hasattr(os, "waitid"):
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        signal_group(pid, signal.SIGKILL)
    done, status, usage = os.wait4(pid, os.WNOHANG)
    return (status, usage) if done else None


def exit_record(job: dict[str, Any], ending: Ending, kernel_killed: bool) -> dict[str, Any]:
    """What the system said of the end, and why the shim brought it about; the runner judges."""
    code, number = exit_of(ending.status)
    done = code == 0  # it was done before it could be stopped
    usage = ending.usage
    return {
        "exit_code": code,
        "signal": number,
        "cause": None if done else ending.cause,
        "reason": "" if done else ending.reason,
        "memory_mb": job["memory_mb"],
        "kernel_killed": kernel_killed,
        "peak_mb": round(peak_mb(usage), 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 3),
    }


def exit_of(status: int) -> tuple[int | None, int | None]:
    """Exit code and signal of a wait status; one of them is None."""
    code = os.waitstatus_to_exitcode(status)
    return (code, None) if code >= 0 else (None, -code)


def peak_mb(usage: resource.struct_rusage) -> float:
    """Peak resident memory in MiB; Linux counts in KiB, macOS in bytes."""
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def kernel_kills() -> int:
    """How many processes the kernel has killed for memory on this machine; 0 where unknown."""
    try:
        with open("/proc/vmstat", encoding="ascii") as file:
            return next((int(s.split()[1]) for s in file if s.startswith("oom_kill ")), 0)
    except OSError:
        return 0


def bound_log(limit: int) -> None:
    """Keep the log below `limit` bytes: its first half stays, the rest begins anew.

    The job appends to the same open file, so it goes on where the file was cut, and never waits.
    """
    with contextlib.suppress(OSError):
        if os.fstat(1).st_size > limit:
            os.ftruncate(1, limit // 2)
            note(f"the log passed {limit} bytes; what followed its first half was dropped here")


def note(text: str) -> None:
    """Add a line of the shim's own to the job's log."""
    with contextlib.suppress(OSError):
        os.write(1, f"\n[penstock: {text}]\n".encode())


def wake_on_child_end() -> int:
    """A descriptor that can be read when a child has ended."""
    wake, ring = os.pipe()
    os.set_blocking(ring, False)
    signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
    nothing: Callable[[int, Any], None] = lambda *_: None  # noqa: E731 - a handler must exist
    signal.signal(signal.SIGCHLD, nothing)
    return wake


def signal_group(pid: int, number: int) -> None:
    """Send a signal to the job and what it started, as far as that is still there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def read_record(folder: str, name: str) -> dict[str, Any]:
    """The JSON object in a file of the folder."""
    with open(os.path.join(folder, name), "rb") as file:
        record: dict[str, Any] = json.load(file)
    return record


def write_record(folder: str, name: str, record: dict[str, Any], keep_locked: bool = False) -> int:
    """Write a JSON object so that it survives a power cut.

    Returns:
        A descriptor of the file, whose `flock` is held, when `keep_locked`; otherwise -1.
    """
    path = os.path.join(folder, name)
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "wb") as file:
        if keep_locked:
            fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(record).encode())
        file.flush()
        os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(folder)
        return os.dup(file.fileno()) if keep_locked else -1


def sync_folder(folder: str) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock_is_held(path: str) -> bool:
    """Whether a process holds the exclusive `flock` of the file at `path`.

    Asks for a shared lock, so that those who ask never take each other for the holder.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(file, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def birth(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; None where the system does not say.

    Process id and birth together name one process, even after the id was given away again.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
