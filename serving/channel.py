"""The channel: whole messages and descriptors between the supervisor and one of its children.

A pair of Unix sockets of type SEQPACKET: message boundaries are kept, descriptors travel beside
the bytes (SCM_RIGHTS), and the death of either side reads as end of file. Payload of requests
never goes this way.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from serving.errors import ChildDied

MAX_MESSAGE = 65536
MAX_DESCRIPTORS = 8


class Channel:
    """One end of a control channel."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Two connected ends."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), cls(theirs)

    @classmethod
    def adopt(cls, descriptor: int) -> Channel:
        """The end whose descriptor was inherited or received; the channel owns it from here on."""
        return cls(socket.socket(fileno=descriptor))

    def fileno(self) -> int:
        """The descriptor, for pollers."""
        return self._socket.fileno()

    def send(self, message: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send one message without waiting; the descriptors stay open on this side too.

        Raises:
            ChildDied: the other side is gone, or so stuck that its channel is full.
        """
        try:
            socket.send_fds(self._socket, [message], list(descriptors), socket.MSG_DONTWAIT)
        except OSError as error:
            raise ChildDied("a message found no receiver", str(error)) from error

    def receive(self) -> tuple[bytes, list[int]] | None:
        """Wait for one message and the descriptors with it; None once the other side is gone."""
        try:
            data, descriptors, _, _ = socket.recv_fds(
                self._socket, MAX_MESSAGE, MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionError:
            return None
        return (data, descriptors) if data else None

    def close(self) -> None:
        """Close this end; the other side reads end of file."""
        self._socket.close()
