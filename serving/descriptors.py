"""Descriptors: how many a process may have, and room for them before they are needed."""

from __future__ import annotations

import fcntl
import os
import resource


def make_room(count: int) -> None:
    """Let this process have `count` descriptors, as far as it may. Before it starts a thread.

    The kernel's table of descriptors doubles when it is full. In a process with several threads it
    then waits until no core can still be reading the old one (`synchronize_rcu` in Linux' fs/file.c):
    5 to 20 ms in which the thread that opens a descriptor, the event loop say, does nothing else.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        count = min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.close(fcntl.fcntl(reader, fcntl.F_DUPFD_CLOEXEC, count - 1))
    os.close(reader)
    os.close(writer)
