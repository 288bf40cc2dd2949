"""One server process of a test: started, waited for, stopped by its own process id."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path


class ServerFailedError(Exception):
    """A server ended or never became ready; carries the end of its log."""


def free_port() -> int:
    """A loopback port that was free a moment ago; another process may take it first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    """Whether something on the loopback accepts connections at `port`."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def log_tail(log: Path, lines: int = 20) -> str:
    """The last lines of a server's log, for a message."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    log: Path,
    ready: Callable[[], bool],
    env: Mapping[str, str] | None = None,
    patience: float = 30,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` until the block ends; enter it when `ready()` holds.

    Args:
        command: the program and its arguments.
        log: takes what the server prints.
        ready: asked every 20 ms until it says yes.
        env: added to a minimal environment, so that the shell's settings do not leak in.
        patience: seconds until a server that is not ready counts as failed.

    Raises:
        ServerFailedError: it ended early or did not become ready.
    """
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=kept | dict(env or {}),
            start_new_session=True,  # Ctrl-C reaches the test, which then stops the server
        )
    try:
        _wait(process, ready, log, patience)
        yield process
    finally:
        stop(process)


def _wait(
    process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path, patience: float
) -> None:
    deadline = time.monotonic() + patience
    while not ready():
        if process.poll() is not None:
            raise ServerFailedError(f"exited with {process.returncode}:\n{log_tail(log)}")
        if time.monotonic() > deadline:
            raise ServerFailedError(f"not ready after {patience:.0f} s:\n{log_tail(log)}")
        time.sleep(0.02)


def stop(process: subprocess.Popen[bytes], grace: float = 5) -> None:
    """Ask the process to end, insist after `grace` seconds; nothing where it has ended."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
