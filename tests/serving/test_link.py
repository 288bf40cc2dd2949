"""Arena and link: who may write what, and what is left when a side dies."""

from __future__ import annotations

import mmap
import os
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from registry.models.signature import Matrix
from serving.arena import ALIGNMENT, BUFFERS, MIN_OUTPUT, Arena, Layout, create_arena
from serving.errors import FrameError
from serving.frame import SIZE, Frame, Kind
from serving.link import GatewayEnd, WorkerEnd, create_link

LAYOUT = Layout(rows=5, features=3, outputs=2)

pytestmark = pytest.mark.usefixtures("no_fd_leaks", "no_shm_leaks")


@contextmanager
def ends(layout: Layout = LAYOUT) -> Iterator[tuple[GatewayEnd[str], WorkerEnd]]:
    """Both ends of a link in this process, with descriptors of their own as if passed."""
    files = create_link(layout)
    gateway: GatewayEnd[str] = GatewayEnd(layout, [os.dup(d) for d in files.for_gateway])
    worker = WorkerEnd(layout, [os.dup(d) for d in files.for_worker])
    files.close()
    try:
        yield gateway, worker
    finally:
        gateway.close()
        worker.close()


def filler(rows: Matrix) -> Callable[[Matrix], None]:
    def fill(buffer: Matrix) -> None:
        buffer[: len(rows)] = rows

    return fill


def rows_of(count: int, start: float = 0.0) -> Matrix:
    return np.arange(count * LAYOUT.features, dtype=np.float64).reshape(count, -1) + start


def test_a_batch_there_and_back() -> None:
    with ends() as (gateway, worker):
        sent = rows_of(4)
        gateway.lend("batch", 4, filler(sent), deadline=77)
        frame = worker.receive()
        assert frame is not None
        assert (frame.kind, frame.length, frame.deadline) == (Kind.PREDICT, 4, 77)
        np.testing.assert_array_equal(worker.inputs(frame), sent)
        worker.outputs(frame)[:] = sent[:, :2] * 10
        worker.answer(frame, Kind.RESULT, compute=123)
        ((loan, answer),) = gateway.collect()
        assert (loan.batch, answer.compute) == ("batch", 123)
        np.testing.assert_array_equal(gateway.outputs(loan), sent[:, :2] * 10)
        assert gateway.idle


def test_two_buffers_and_no_third() -> None:
    with ends() as (gateway, worker):
        gateway.lend("one", 1, filler(rows_of(1)))
        assert (gateway.has_room, gateway.idle) == (True, False)
        gateway.lend("two", 1, filler(rows_of(1, 50.0)))
        assert (gateway.has_room, gateway.idle) == (False, False)
        first, second = worker.receive(), worker.receive()
        assert first is not None
        assert second is not None
        assert first.buffer != second.buffer
        assert worker.inputs(second)[0, 0] == 50.0


def test_buffers_are_aligned_and_apart() -> None:
    with ends() as (gateway, _):
        arena = gateway._arena
        addresses = [m.ctypes.data for m in (*arena.inputs, *arena.outputs)]
        assert all(address % ALIGNMENT == 0 for address in addresses)
        assert len(set(addresses)) == 2 * BUFFERS


def test_each_side_writes_only_what_is_its_own() -> None:
    with ends() as (gateway, worker):
        gateway.lend("batch", 1, filler(rows_of(1)))
        frame = worker.receive()
        assert frame is not None
        with pytest.raises(ValueError, match="read-only"):
            worker.inputs(frame)[0, 0] = 1.0
        worker.answer(frame, Kind.RESULT, 0)
        ((loan, _),) = gateway.collect()
        with pytest.raises(ValueError, match="read-only"):
            gateway.outputs(loan)[0, 0] = 1.0


def test_the_kernel_refuses_to_map_the_inputs_writable_or_to_resize_them() -> None:
    files = create_arena(LAYOUT)
    try:
        with pytest.raises(PermissionError):
            mmap.mmap(files.inputs_read_only, ALIGNMENT, prot=mmap.PROT_WRITE)
        for size in (0, 1 << 20):
            with pytest.raises(PermissionError):
                os.ftruncate(files.inputs, size)
    finally:
        files.close()


def test_error_text_fits_however_long() -> None:
    with ends() as (gateway, worker):
        gateway.lend("batch", 1, filler(rows_of(1)))
        frame = worker.receive()
        assert frame is not None
        worker.answer(frame, Kind.FAILURE, 0, "ü" * 10_000)
        ((loan, answer),) = gateway.collect()
        assert answer.length == MIN_OUTPUT
        assert gateway.error_text(loan, answer).startswith("üüü")


def test_death_of_the_worker_is_end_of_file_after_its_last_answer() -> None:
    with ends() as (gateway, worker):
        gateway.lend("answered", 1, filler(rows_of(1)))
        gateway.lend("computing", 1, filler(rows_of(1)))
        frame = worker.receive()
        assert frame is not None
        worker.answer(frame, Kind.RESULT, 0)
        worker.close()
        collected = []
        while not gateway.closed:
            assert select.select([gateway], [], [], 60)[0]
            collected += gateway.collect()
        assert [loan.batch for loan, _ in collected] == ["answered"]
        assert [loan.batch for loan in gateway.loans] == ["computing"]
        assert not gateway.has_room


def test_lending_to_a_dead_worker_is_found_out_by_collecting() -> None:
    with ends() as (gateway, worker):
        worker.close()
        gateway.lend("late", 1, filler(rows_of(1)))
        assert gateway.collect() == []
        assert gateway.closed
        assert [loan.batch for loan in gateway.loans] == ["late"]


def test_death_of_the_gateway_is_end_of_file() -> None:
    with ends() as (gateway, worker):
        gateway.lend("batch", 1, filler(rows_of(1)))
        frame = worker.receive()
        gateway.close()
        assert frame is not None
        worker.answer(frame, Kind.RESULT, 0)
        assert worker.receive() is None


def answers(frame: Frame) -> dict[str, Frame]:
    return {
        "another buffer": frame._replace(kind=Kind.RESULT, buffer=1 - frame.buffer),
        "another sequence": frame._replace(kind=Kind.RESULT, sequence=frame.sequence + 1),
        "fewer rows": frame._replace(kind=Kind.RESULT, length=frame.length - 1),
        "a loan": frame,
    }


@pytest.mark.parametrize("fault", ["another buffer", "another sequence", "fewer rows", "a loan"])
def test_an_answer_that_was_not_due_is_an_error(fault: str) -> None:
    with ends() as (gateway, worker):
        gateway.lend("batch", 3, filler(rows_of(3)))
        frame = worker.receive()
        assert frame is not None
        raw_send(worker, answers(frame)[fault])
        with pytest.raises(FrameError):
            gateway.collect()


def test_an_answer_to_nothing_is_an_error() -> None:
    with ends() as (gateway, worker):
        raw_send(worker, Frame(Kind.RESULT, 0, 1, 1))
        with pytest.raises(FrameError, match="nothing"):
            gateway.collect()


@pytest.mark.parametrize(
    "frame",
    [
        Frame(Kind.RESULT, 0, 1, 1),
        Frame(Kind.PREDICT, BUFFERS, 1, 1),
        Frame(Kind.PREDICT, 0, 0, 1),
        Frame(Kind.PREDICT, 0, LAYOUT.rows + 1, 1),
    ],
)
def test_a_loan_outside_the_arena_is_an_error(frame: Frame) -> None:
    with ends() as (gateway, worker):
        raw_send(gateway, frame)
        with pytest.raises(FrameError):
            worker.receive()


def raw_send(end: Any, frame: Frame) -> None:
    with socket.socket(fileno=os.dup(end.fileno())) as connection:
        assert connection.send(frame.encode()) == SIZE


def test_the_memory_goes_with_its_holders() -> None:
    def resident() -> int:
        return Path("/proc/self/smaps").read_text().count("memfd:penstock")

    before = resident()
    with ends(Layout(64, 500, 1)):
        assert resident() == before + 4
    assert resident() == before


def test_arena_of_one_row_and_column() -> None:
    layout = Layout(1, 1, 1)
    files = create_arena(layout)
    arena = Arena(layout, files.inputs, files.outputs_read_only, gateway=True)
    files.close()
    assert arena.inputs[1].shape == (1, 1)
    arena.close()
