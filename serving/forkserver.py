"""The forkserver: a small process that has imported what children need, and forks them.

A forked child starts in milliseconds and shares the pages of the libraries with its siblings. The
forkserver itself has one thread, opens no model and reads nothing but the supervisor's channel.
Run as `python -m serving.forkserver DESCRIPTOR LOG_LEVEL`.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import NoReturn

from registry.logs import configure, get_logger
from registry.reports import Event, reports
from serving.channel import Channel
from serving.messages import Forked, Reported, ToForkserver, decoder

log = get_logger("serving.forkserver")
#: Module of each role; its `main(channel)` is the child's life.
ROLES = {
    "worker": "serving.worker",
    "stage": "serving.stage",
    "gateway": "serving.gateway.process",
    "grpc": "serving.gateway.rpc.process",
    "requests": "serving.requestlog.process",
}
#: Exit status of a child that ended by an exception.
FAILED = 70


def _preload() -> None:
    """Import and load what every child would load for itself."""
    for module in (*ROLES.values(), "registry.models.lightgbm", "registry.models.forest.evaluator"):
        importlib.import_module(module)
    from registry.models.lightgbm import library

    library()
    gc.collect()
    # Objects made so far are left out of collections, whose marks would unshare their pages.
    gc.freeze()


class Forkserver:
    """Forks a child for each message, reaps the dead, ends with the supervisor."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._wake_reader, self._wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> None:
        """Serve until the supervisor's end of the channel is closed."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        poll.register(self._wake_reader, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == self._wake_reader:
                    self._reap()
                elif not self._serve():
                    return

    def _serve(self) -> bool:
        received = self._channel.receive()
        if received is None:
            return False
        message, (descriptor,) = decoder(ToForkserver).decode(received[0]), received[1]
        pid = os.fork()
        if pid == 0:
            self._become(message.role, message.title, descriptor)
        os.close(descriptor)
        # Opened before anything reaps the child, so that it cannot be another process's.
        pidfd = os.pidfd_open(pid)
        self._channel.send(Forked(pid).encode(), [pidfd])
        os.close(pidfd)
        return True

    def _become(self, role: str, title: str, descriptor: int) -> NoReturn:
        status = FAILED
        channel = Channel.adopt(descriptor)
        reports.sink = partial(_tell, channel)
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._channel.close()
            os.close(self._wake_reader)
            os.close(self._wake_writer)
            Path("/proc/self/comm").write_text(title[:15])
            importlib.import_module(ROLES[role]).main(channel)
            status = 0
        except BaseException as error:  # noqa: BLE001 - the child must not return into the forkserver
            traceback.print_exc()
            reports.report("a child ended by an exception", error, level="fatal", role=role)
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        os.read(self._wake_reader, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if status:
                log.warning("child ended", pid=pid, exit_code=os.waitstatus_to_exitcode(status))


def _tell(channel: Channel, event: Event) -> None:
    """Let the supervisor report an error; it alone knows where to."""
    channel.send(Reported(event).encode())


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM):
        # A terminal or a service manager may signal the whole group; the supervisor decides.
        signal.signal(ignored, signal.SIG_IGN)
    configure(sys.argv[2])
    _preload()
    Forkserver(Channel.adopt(int(sys.argv[1]))).run()
