"""Records are read strictly, and what is wrong with them is named."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.artifacts.records import decode_record, encode_record
from registry.errors import BadData


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: str
    number: int = 0


def test_a_record_can_be_read_by_a_person():
    assert encode_record(Note("é", 3)) == '{\n "text": "é",\n "number": 3\n}\n'.encode()


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(-(2**63), 2**64 - 1))
def test_a_record_survives_the_round_trip(text: str, number: int):
    note = Note(text, number)
    assert decode_record(encode_record(note), Note, "x", "note") == note


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"null", b"[]", b'{"text": 1}', b'{"number": 1}', b'{"text": "a", "more": 1}',
        b"\xff\xfe", b'{"text": "\xff"}', b"[" * 200_000, b'{"text": "a"} {"text": "b"}',
        b'{"text": "a", "number": 1e999}', b'{"text": "\\udcff"}', b"\x00" * 100,
    ],
)  # fmt: skip
def test_what_is_no_record_is_named_with_the_way_out(data: bytes):
    with pytest.raises(BadData, match=r"a/b\.json cannot be read as a note") as caught:
        decode_record(data, Note, "a/b.json", "note")
    assert "backup" in caught.value.todo


@given(st.binary(max_size=60))
def test_garbage_never_raises_anything_else(data: bytes):
    with pytest.raises(BadData):
        decode_record(data, Note, "x", "note")
