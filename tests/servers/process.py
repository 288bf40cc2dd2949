"""One server process of a test: started, waited for, stopped by its own process id."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from tests.servers import listeners

#: Below the ports that Linux hands to outgoing connections, so that a server that is stopped and
#: started again finds its port still free; below those that Nomad hands to its tasks, too.
PORTS = range(10_000, 20_000)
#: Seconds that a server may take on a machine that is very busy with other things.
PATIENCE = 300


class ServerFailedError(Exception):
    """A server ended or never became ready; carries the end of its log."""


def is_free(port: int) -> bool:
    """Whether nothing on the loopback holds `port`."""
    with socket.socket() as probe:
        # As servers do: connections that have ended a moment ago do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A loopback port that was free a moment ago; another process may take it first."""
    while True:
        port = random.SystemRandom().choice(
            PORTS
        )  # not the seed of the tests: all would draw alike
        if is_free(port):
            return port


def free_ports(file: Path, names: Sequence[str]) -> dict[str, int]:
    """A free port for each of `names`: those that `file` holds of an earlier start, if still free.

    A server that keeps its state keeps its addresses, too. `file` is written (JSON).
    """
    ports: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    if set(ports) != set(names) or not all(map(is_free, ports.values())):
        ports = {name: free_port() for name in names}
        file.write_text(json.dumps(ports))
    return ports


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


class Agent:
    """A server's process, which may be stopped, killed and started again by the same command.

    Args:
        command: the program and its arguments.
        log: takes what the server prints, over all of its starts.
        ready: asked until it says yes; may raise OSError while nobody listens.
        env: added to a minimal environment, so that the shell's settings do not leak in.
        patience: seconds until a server that is not ready counts as failed.
        port: the loopback port that it is asked at, which must be its own: whoever took it first
            answers as well, and would be taken for it.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        ready: Callable[[], bool],
        env: Mapping[str, str] | None = None,
        patience: float = PATIENCE,
        port: int | None = None,
    ) -> None:
        self.command = [str(word) for word in command]
        self.log = log
        self.ready = ready
        self.env = dict(env or {})
        self.patience = patience
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the last start."""
        assert self.process is not None, "not started yet"
        return self.process.pid

    def start(self) -> None:
        """Start the process and wait until it is ready.

        Raises:
            ServerFailedError: it ended early, did not become ready, or somebody else has its port;
                it runs no more.
        """
        assert not self.running, f"{self.command[0]} runs already"
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=kept | self.env,
                start_new_session=True,  # Ctrl-C reaches the test, which then stops the server
            )
        try:
            self._wait(self.process)
        except BaseException:
            self.stop()
            raise

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self.patience
        while not self._is_ready():
            if process.poll() is not None:
                raise ServerFailedError(f"exited with {process.returncode}:\n{log_tail(self.log)}")
            self._check_port(process.pid)
            if time.monotonic() > deadline:
                tail = log_tail(self.log)
                raise ServerFailedError(f"not ready after {self.patience:.0f} s:\n{tail}")
            time.sleep(0.02)
        self._check_port(process.pid)

    def _check_port(self, pid: int) -> None:
        if self.port is not None and listeners.is_foreign(self.port, pid):
            raise ServerFailedError(
                f"port {self.port}: address already in use, by another process than "
                f"{Path(self.command[0]).name} ({pid})"
            )

    def _is_ready(self) -> bool:
        try:
            return self.ready()
        except OSError:
            return False

    def stop(self, grace: float = 10) -> None:
        """Ask the process to end and insist after `grace` seconds; nothing where it has ended."""
        if self.process is not None:
            stop(self.process, grace)

    def kill(self) -> None:
        """End the process without a chance to clean up (SIGKILL)."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    log: Path,
    ready: Callable[[], bool],
    env: Mapping[str, str] | None = None,
    patience: float = PATIENCE,
    port: int | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` until the block ends; enter it when `ready()` holds. See `Agent`.

    Raises:
        ServerFailedError: it ended early or did not become ready.
    """
    agent = Agent(command, log, ready, env, patience, port)
    try:
        agent.start()
        assert agent.process is not None
        yield agent.process
    finally:
        agent.stop(grace=5)


class Closable(Protocol):
    """What `on_free_ports` can start."""

    def start(self) -> None:
        """Start and wait until it is ready; ServerFailedError where it is not."""

    def close(self) -> None:
        """End every process; nothing where none runs."""


Server = TypeVar("Server", bound=Closable)


def on_free_ports(make: Callable[[], Server], tries: int = 3) -> Server:
    """A started server; made again, on other ports, where somebody else took one first.

    Raises:
        ServerFailedError: it did not start, for another reason or `tries` times.
    """
    while True:
        server = make()
        tries -= 1
        try:
            server.start()
        except BaseException as error:
            server.close()
            if tries and "address already in use" in str(error):
                continue
            raise
        else:
            return server


def stop(process: subprocess.Popen[bytes], grace: float = 5) -> None:
    """Ask the process to end, insist after `grace` seconds; nothing where it has ended."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def until(holds: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Wait until `holds()`; one that raises OSError, as an unreachable server does, does not yet.

    Raises:
        ServerFailedError: it did not within `patience` seconds; says `what`.
    """
    deadline = time.monotonic() + patience
    error: OSError | None = None
    while time.monotonic() < deadline:
        try:
            if holds():
                return
        except OSError as failed:
            error = failed
        time.sleep(0.05)
    raise ServerFailedError(f"not within {patience:.0f} s: {what}{f' ({error})' if error else ''}")


def kept_token(folder: Path) -> str:
    """The management token of an earlier start in this folder, or a new one (a UUID)."""
    file = folder / "management-token"
    if not file.exists():
        file.touch(0o600)
        file.write_text(str(uuid.uuid4()))
    return file.read_text()
