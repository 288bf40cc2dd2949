"""The link: one gateway and one worker, joined by an arena and a socket of their own.

The supervisor makes the pieces and passes them by descriptor. The gateway *lends* a buffer with a
PREDICT frame; the answer gives it back. End of file on the socket is the death of the other side:
everything that was lent is the gateway's again, and a late write of a dying worker lands in memory
that nobody reads any more.
"""

from __future__ import annotations

import mmap
import os
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from serving.arena import BUFFERS, Arena, ArenaFiles, Layout, create_arena
from serving.errors import FrameError
from serving.frame import SIZE, Frame, FrameReader, Kind

if TYPE_CHECKING:
    from registry.models.signature import Matrix

T = TypeVar("T")


@dataclass(frozen=True)
class LinkFiles:
    """The descriptors of a new link, before they are passed to its two ends."""

    gateway_socket: socket.socket
    worker_socket: socket.socket
    arena: ArenaFiles

    @property
    def for_gateway(self) -> tuple[int, int, int]:
        """Socket, inputs, outputs (read-only)."""
        return self.gateway_socket.fileno(), self.arena.inputs, self.arena.outputs_read_only

    @property
    def for_worker(self) -> tuple[int, int, int]:
        """Socket, inputs (read-only), outputs."""
        return self.worker_socket.fileno(), self.arena.inputs_read_only, self.arena.outputs

    def close(self) -> None:
        """Close the supervisor's copies, once both ends have theirs."""
        self.gateway_socket.close()
        self.worker_socket.close()
        self.arena.close()


def create_link(layout: Layout) -> LinkFiles:
    """Make a link (supervisor). Raises OSError when memory or descriptors run out."""
    arena = create_arena(layout)
    try:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError:
        arena.close()
        raise
    return LinkFiles(ours, theirs, arena)


def _map(layout: Layout, descriptors: list[int], *, gateway: bool) -> tuple[socket.socket, Arena]:
    end, inputs, outputs = descriptors
    connection = socket.socket(fileno=end)
    try:
        return connection, Arena(layout, inputs, outputs, gateway=gateway)
    finally:
        os.close(inputs)
        os.close(outputs)


@dataclass
class Loan(Generic[T]):
    """A buffer that the worker has: its index, the frame's sequence, and what the caller put in."""

    sequence: int
    buffer: int
    rows: int
    batch: T


class GatewayEnd(Generic[T]):
    """The gateway's end: lends buffers, collects answers. `T` is the caller's batch."""

    def __init__(self, layout: Layout, descriptors: list[int]) -> None:
        """Take over `descriptors` (socket, inputs, outputs), as passed by the supervisor."""
        self._socket, self._arena = _map(layout, descriptors, gateway=True)
        self._socket.setblocking(False)
        self._reader = FrameReader()
        self._free = list(range(BUFFERS))
        self._sequence = 0
        self.loans: deque[Loan[T]] = deque()
        self.closed = False

    def fileno(self) -> int:
        """The socket's descriptor, for the event loop."""
        return self._socket.fileno()

    @property
    def idle(self) -> bool:
        """Whether the worker has nothing to do."""
        return not self.loans and not self.closed

    @property
    def fresh(self) -> bool:
        """Whether the worker was never asked anything."""
        return not self._sequence

    @property
    def rows(self) -> int:
        """Rows that a buffer holds."""
        return self._arena.layout.rows

    @property
    def has_room(self) -> bool:
        """Whether a buffer can be lent."""
        return bool(self._free) and not self.closed

    def lend(self, batch: T, rows: int, fill: Callable[[Matrix], None], deadline: int = 0) -> None:
        """Fill a free buffer with `rows` rows and hand it to the worker."""
        buffer = self._free.pop()
        fill(self._arena.inputs[buffer])
        self._sequence += 1
        self.loans.append(Loan(self._sequence, buffer, rows, batch))
        frame = Frame(Kind.PREDICT, buffer, rows, self._sequence, deadline)
        try:
            self._socket.send(frame.encode())
        except OSError:
            # The worker died in this moment; `collect` will read the end of file and say so.
            return

    def share(self, memory: int) -> None:
        """Let the worker read the payload memory whose descriptor this is."""
        frame = Frame(Kind.SHARE, 0, 0, 0)
        try:
            socket.send_fds(self._socket, [frame.encode()], [memory])
        except OSError:
            # It died in this moment; see `lend`.
            return

    def collect(self) -> list[tuple[Loan[T], Frame]]:
        """Read the answers that have come; sets `closed` once the worker is gone.

        The buffers of these loans are free again, and keep their contents until the next `lend`.

        Raises:
            FrameError: an answer that was not due. Nothing of this worker can be trusted then.
        """
        try:
            data = self._socket.recv(64 * SIZE)
        except BlockingIOError:
            return []
        except ConnectionError:
            data = b""
        if not data:
            self.closed = True
        return [(self._match(frame), frame) for frame in self._reader.feed(data)]

    def _match(self, frame: Frame) -> Loan[T]:
        if not self.loans:
            raise FrameError("an answer to nothing", f"sequence {frame.sequence}")
        loan = self.loans[0]
        answered = (frame.sequence, frame.buffer)
        if answered != (loan.sequence, loan.buffer) or frame.kind in (Kind.PREDICT, Kind.SHARE):
            raise FrameError("an answer out of turn", f"{frame} while {loan.sequence} is due")
        if frame.kind == Kind.RESULT and frame.length != loan.rows:
            raise FrameError("an answer of another length", f"{frame.length} of {loan.rows} rows")
        self.loans.popleft()
        self._free.append(loan.buffer)
        return loan

    def outputs(self, loan: Loan[T]) -> Matrix:
        """The rows that the worker computed, valid until the next `lend`."""
        return self._arena.outputs[loan.buffer][: loan.rows]

    def error_text(self, loan: Loan[T], frame: Frame) -> str:
        """What the worker says about a FAILURE, for the log; about a REFUSED, for the client."""
        return self._arena.read_text(loan.buffer, frame.length)

    def close(self) -> None:
        """Close this end. The worker reads end of file and forgets the link."""
        self.closed = True
        self._socket.close()
        self._arena.close()


class WorkerEnd:
    """The worker's end: receives loans in order and answers each."""

    def __init__(self, layout: Layout, descriptors: list[int], *, shares: bool = False) -> None:
        """Take over `descriptors` (socket, inputs read-only, outputs).

        `shares` says that a SHARE may come, which takes a slower call to receive.
        """
        self._socket, self._arena = _map(layout, descriptors, gateway=False)
        self._shares = shares
        #: What the gateway shares: the bytes of payloads. Empty until it did.
        self.payloads = memoryview(b"")

    def fileno(self) -> int:
        """The socket's descriptor, for pollers."""
        return self._socket.fileno()

    def receive(self) -> Frame | None:
        """Wait for the next loan; None once the gateway is gone or has closed the link.

        A SHARE has been followed already when it is returned, and needs no answer.

        Raises:
            FrameError: the frame is not one that lends a buffer of this arena.
        """
        descriptors: list[int] = []
        try:
            if self._shares:
                flags = socket.MSG_WAITALL | socket.MSG_CMSG_CLOEXEC
                data, descriptors, _, _ = socket.recv_fds(self._socket, SIZE, 1, flags)
            else:
                data = self._socket.recv(SIZE, socket.MSG_WAITALL)
        except ConnectionError:
            return None
        if len(data) < SIZE:
            return None
        (frame,) = FrameReader().feed(data)
        if frame.kind == Kind.SHARE and descriptors:
            self._share(descriptors[0])
            return frame
        rows = self._arena.layout.rows
        if frame.kind != Kind.PREDICT or frame.buffer >= BUFFERS or not 0 < frame.length <= rows:
            raise FrameError("a loan that cannot be", str(frame))
        return frame

    def _share(self, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        self.payloads = memoryview(mmap.mmap(descriptor, size, prot=mmap.PROT_READ))
        os.close(descriptor)
        self._shares = False

    def inputs(self, frame: Frame) -> Matrix:
        """The lent rows, which the kernel keeps this process from writing."""
        return self._arena.inputs[frame.buffer][: frame.length]

    def outputs(self, frame: Frame) -> Matrix:
        """Where the answer goes."""
        return self._arena.outputs[frame.buffer][: frame.length]

    def answer(self, frame: Frame, kind: Kind, compute: int, text: str = "") -> None:
        """Give the buffer back as `kind`, with a `text` if it is FAILURE or REFUSED."""
        length = frame.length
        if kind in (Kind.FAILURE, Kind.REFUSED):
            length = self._arena.write_text(frame.buffer, text)
        reply = Frame(kind, frame.buffer, length, frame.sequence, 0, compute)
        try:
            self._socket.sendall(reply.encode())
        except ConnectionError:
            # The gateway died; the next `receive` says so.
            return

    def close(self) -> None:
        """Close this end. The memory of payloads goes with the last view of it."""
        self._socket.close()
        self._arena.close()
        self.payloads = memoryview(b"")
