"""The memory of payloads, and the rows that point into it."""

from __future__ import annotations

import gc
import itertools
import mmap
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from registry.errors import BadData
from registry.models.signature import Input
from serving.errors import BodyTooLarge, Overloaded
from serving.gateway.payload import PayloadEncoder
from serving.payloads import STEP, PayloadMemory
from serving.stage import columns_of

LIMIT = 2 * STEP
INPUTS = (
    Input("a", "bytes"),
    Input("n"),
    Input("whole", "int64"),
    Input("b", "bytes", missing="error"),
)

pytestmark = pytest.mark.usefixtures("no_fd_leaks")


@pytest.fixture
def memory() -> Iterator[PayloadMemory]:
    made = PayloadMemory(LIMIT)
    yield made
    gc.collect()
    made.close()


class Blocks(RuleBasedStateMachine):
    """Whatever is taken and given back, in whatever order: blocks never overlap, and none is lost."""

    taken = Bundle("taken")

    def __init__(self) -> None:
        super().__init__()
        self.memory = PayloadMemory(LIMIT)
        self.held: dict[int, tuple[int, bytes]] = {}

    @rule(target=taken, size=st.one_of(st.integers(0, 300), st.integers(0, LIMIT)))
    def take(self, size: int) -> int | None:
        biggest = max((stop - start for start, stop in self.memory._holes), default=0)
        try:
            start, view = self.memory.take(size)
        except Overloaded:
            assert biggest < max(size, 1)
            return None
        with view:
            content = os.urandom(min(size, 64))
            view[: len(content)] = content
        self.held[start] = (size, content)
        return start

    @rule(start=consumes(taken))
    def free(self, start: int | None) -> None:
        if start is not None:
            size, _ = self.held.pop(start)
            self.memory.free(start, size)

    @rule()
    def trim(self) -> None:
        self.memory.trim()

    @invariant()
    def what_is_held_is_as_it_was_written(self) -> None:
        for start, (_, content) in self.held.items():
            assert os.pread(self.memory._file, len(content), start) == content

    @invariant()
    def holes_are_what_is_left(self) -> None:
        holes = self.memory._holes
        assert sum(stop - start for start, stop in holes) == LIMIT - self.memory.used
        assert all(a[1] < b[0] for a, b in itertools.pairwise(holes))

    def teardown(self) -> None:
        self.memory.close()


TestBlocks = Blocks.TestCase


def test_pages_that_nobody_uses_go_back_to_the_system(memory: PayloadMemory) -> None:
    start, view = memory.take(LIMIT)
    view[:] = b"x" * LIMIT
    view.release()
    memory.free(start, LIMIT)
    memory.trim()
    before = os.fstat(memory._file).st_blocks
    memory.trim()
    assert os.fstat(memory._file).st_blocks * 512 <= STEP < before * 512


def test_what_never_fits_is_told_from_what_does_not_fit_now(memory: PayloadMemory) -> None:
    with pytest.raises(BodyTooLarge):
        memory.take(LIMIT + 1)
    memory.take(LIMIT)[1].release()
    with pytest.raises(Overloaded):
        memory.take(1)


def test_who_gets_the_descriptor_can_only_read(memory: PayloadMemory) -> None:
    with pytest.raises(PermissionError):
        mmap.mmap(memory.read_only, LIMIT)
    mmap.mmap(memory.read_only, LIMIT, prot=mmap.PROT_READ).close()


@given(
    st.lists(
        st.tuples(
            st.none() | st.binary(max_size=300),
            st.none() | st.floats(allow_nan=False),
            st.none() | st.integers(-(2**53), 2**53),
            st.binary(max_size=300) | st.text(st.characters(exclude_categories=["Cs"])),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_a_stage_gets_what_was_sent(rows: list[tuple[bytes, float, int, bytes | str]]) -> None:
    """Through the matrix and the memory, as another process maps it; and nothing stays behind."""
    memory = PayloadMemory(LIMIT)
    columns = dict(zip(("a", "n", "whole", "b"), map(list, zip(*rows, strict=True)), strict=True))
    matrix = PayloadEncoder(INPUTS, memory).encode_columns(columns)
    with mmap.mmap(memory.read_only, LIMIT, prot=mmap.PROT_READ) as mapped:
        got = columns_of(INPUTS, matrix, memoryview(bytes(mapped)))
    assert [a if a is None else bytes(a) for a in got["a"]] == columns["a"]
    assert [bytes(b) for b in got["b"]] == [
        b if isinstance(b, bytes) else b.encode() for b in columns["b"]
    ]
    for name in ("n", "whole"):
        wanted = np.array(columns[name], np.float64)
        assert np.array_equal(got[name], wanted, equal_nan=True)
    part = matrix[:1]
    del matrix, got
    gc.collect()
    assert memory.used, "a part of the rows still points into the memory"
    del part
    gc.collect()
    assert memory.used == 0
    memory.close()


@pytest.mark.parametrize(
    ("column", "text"),
    [([b"x", 1.5], "row 1"), ([None, b"x"], "row 0"), (["\ud800", b""], "UTF-8")],
)
def test_what_is_no_payload_is_named(memory: PayloadMemory, column: list[Any], text: str) -> None:
    columns: dict[str, Any] = {"a": [b"", b""], "n": [1, 2], "whole": [1, 2], "b": column}
    with pytest.raises(BadData, match=text):
        PayloadEncoder(INPUTS, memory).encode_columns(columns)
    assert memory.used == 0
