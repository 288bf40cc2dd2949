"""The frame codec: what is sent comes back, and nothing else is ever accepted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import FrameError
from serving.frame import SIZE, Frame, FrameReader, Kind, decode

frames = st.builds(
    Frame,
    kind=st.sampled_from(Kind),
    buffer=st.integers(0, 255),
    length=st.integers(0, 2**32 - 1),
    sequence=st.integers(0, 2**64 - 1),
    deadline=st.integers(0, 2**64 - 1),
    compute=st.integers(0, 2**64 - 1),
)


@given(frames)
def test_round_trip(frame: Frame) -> None:
    data = frame.encode()
    assert len(data) == SIZE == 32
    assert decode(data) == frame


@given(st.binary(min_size=SIZE, max_size=SIZE))
def test_any_32_bytes_are_that_frame_or_an_error(data: bytes) -> None:
    try:
        frame = decode(data)
    except FrameError:
        return
    assert frame.encode() == data


@given(st.lists(frames, max_size=8), st.data())
def test_any_chopping_gives_the_same_frames(sent: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(frame.encode() for frame in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    reader, got = FrameReader(), []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += reader.feed(stream[start:stop])
    assert got == sent


@pytest.mark.parametrize("size", [0, 1, 31, 33])
def test_other_lengths_are_refused(size: int) -> None:
    with pytest.raises(FrameError, match="32"):
        decode(bytes(size))
