"""Whose a loopback port is: an answer at it does not tell which process gave it.

Linux only: elsewhere there is nothing to read, and a port counts as its server's.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

#: The state of a socket that listens, and the local addresses at which 127.0.0.1 is answered:
#: itself, and "any" by IPv4 and IPv6.
LISTENS = "0A"
ADDRESSES = {"0100007F", "0" * 8, "0" * 32}


def is_foreign(port: int, pid: int) -> bool:
    """Whether something else than the process `pid` listens at the loopback's `port`."""
    if not sys.platform.startswith("linux"):
        return False
    return not listening(port) <= sockets_of(pid)


def listening(port: int) -> set[str]:
    """The inodes of the sockets that listen at the loopback's `port`."""
    return {row[9] for row in _rows() if row[3] == LISTENS and _is_at(row[1], port)}


def sockets_of(pid: int) -> set[str]:
    """The inodes of the sockets that a process has open; empty when it has ended."""
    found = set()
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                found.add(str(link.readlink()).removeprefix("socket:[").removesuffix("]"))
    return found


def _rows() -> Iterator[list[str]]:
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):  # no IPv6
            yield from map(str.split, Path(f"/proc/net/{name}").read_text().splitlines()[1:])


def _is_at(local: str, port: int) -> bool:
    address, _, number = local.partition(":")
    return int(number, 16) == port and address in ADDRESSES
