"""Tensors as bytes: every datatype there and back, and bytes that are not what they should be."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.utils import serialize_byte_tensor, triton_to_np_dtype

from registry.models.signature import Input, Output, Signature
from serving.errors import BodyTooLarge, RequestError, UnsupportedMedia
from serving.gateway.content import media_type, unpack
from serving.gateway.exchange import Exchange
from serving.gateway.protocols import binary, tensors

NUMBERS = sorted(tensors.NUMERIC - {"BF16", "BOOL"})


@pytest.mark.parametrize("datatype", NUMBERS)
def test_numbers(datatype: str) -> None:
    kind = triton_to_np_dtype(datatype)
    info: Any = np.finfo(kind) if "FP" in datatype else np.iinfo(kind)
    values = np.array([info.min, 0, 1, info.max], kind)
    decoded = tensors.decode("x", datatype, [4], values.tobytes())
    assert isinstance(decoded, np.ndarray)
    assert decoded.dtype == kind
    assert decoded.tolist() == values.tolist()


def test_bfloat16() -> None:
    values = np.array([1.0, -2.5, 0.0], np.float32)
    data = values.view(np.uint32).__rshift__(16).astype(np.uint16).tobytes()
    assert list(tensors.decode("x", "BF16", [3, 1], data)) == values.tolist()


def test_booleans() -> None:
    decoded = tensors.decode("x", "BOOL", [3], b"\x00\x01\x01")
    assert list(decoded) == [False, True, True]
    with pytest.raises(RequestError, match="0 or 1"):
        tensors.decode("x", "BOOL", [1], b"\x02")


@given(st.lists(st.text(), max_size=8))
def test_texts(values: list[str]) -> None:
    packed = serialize_byte_tensor(np.array([v.encode() for v in values], object))
    data = packed.item() if packed.size else b""
    elements = tensors.decode("x", "BYTES", [len(values)], memoryview(data))
    assert [bytes(element) for element in elements] == [value.encode() for value in values]
    assert tensors.texts("x", elements) == values


@pytest.mark.parametrize(
    ("datatype", "shape", "data"),
    [
        ("FP64", [2], b"\x00" * 15), ("FP64", [-1], b""), ("FP64", [2**62, 2**62], b""),
        ("FP64", [], b"\x00" * 8), ("FP64", [1] * 1000, b"\x00" * 8), ("FP99", [1], b"\x00"),
        ("BYTES", [1], b"\x01"), ("BYTES", [1], b"\x00\x00\x00\x00" * 2), ("BYTES", [1], b""),
        ("BYTES", [1], b"\xff\xff\xff\xffab"), ("BYTES", [1], b"\x01\x00\x00\x00\xff"),
        ("BYTES", [-1], b""),
    ],
)  # fmt: skip
def test_bytes_that_are_no_such_tensor(datatype: str, shape: list[int], data: bytes) -> None:
    with pytest.raises(RequestError, match="input 'x'"):
        tensors.texts("x", tensors.decode("x", datatype, shape, data))


def test_json_integers_are_in_their_range() -> None:
    tensors.check_integers("x", "INT8", [-128, None, 127])
    tensors.check_integers("x", "FP32", ["anything"])
    for value in (128, 1.0, True, "1"):
        with pytest.raises(RequestError, match="value 0"):
            tensors.check_integers("x", "INT8", [value])


SINGLE = Signature((Input("x"),), (Output("p"),))
HEAD = (
    b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP64","parameters":{"binary_data_size":8}}]}'
)


def test_the_header_says_where_the_bytes_begin() -> None:
    request = binary.parse(HEAD + np.float64(7).tobytes(), str(len(HEAD)).encode(), SINGLE)
    assert list(request.inputs[0].data) == [7.0]


@pytest.mark.parametrize(
    ("body", "header"),
    [
        (HEAD, b"x"), (HEAD, b"-1"), (HEAD, b""), (HEAD, b"9" * 30), (HEAD, b"1, 1"),
        (HEAD, str(len(HEAD) + 1).encode()), (HEAD, str(len(HEAD)).encode()),
        (HEAD + b"x" * 9, str(len(HEAD)).encode()), (HEAD + b"x" * 7, str(len(HEAD)).encode()),
        (HEAD.replace(b"8", b"-8") + b"x" * 8, str(len(HEAD) + 1).encode()),
        (HEAD.replace(b"8}", b'8},"data":[1]') + b"x" * 8, str(len(HEAD) + 12).encode()),
    ],
)  # fmt: skip
def test_lengths_that_do_not_fit(body: bytes, header: bytes) -> None:
    with pytest.raises(RequestError):
        binary.parse(body, header, SINGLE)


def exchange(body: bytes = b"", **headers: bytes) -> Exchange:
    made = Exchange(cast(Any, None))  # It is never answered.
    made.body = body
    made.headers = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return made


def test_a_bomb_is_not_inflated() -> None:
    import zlib

    asked = exchange(zlib.compress(b"\x00" * 50_000_000), content_encoding=b"deflate")
    with pytest.raises(BodyTooLarge):
        unpack(asked, 1_000_000)


@pytest.mark.parametrize("damage", [b"", b"\x1f\x8b", b"not gzip at all"])
def test_damaged_gzip(damage: bytes) -> None:
    with pytest.raises(RequestError, match="damaged"):
        unpack(exchange(damage, content_encoding=b"gzip"), 100)


def test_a_body_of_exactly_the_limit() -> None:
    import gzip

    asked = exchange(gzip.compress(b"x" * 100), content_encoding=b"GZIP")
    unpack(asked, 100)
    assert asked.body == b"x" * 100
    for trailing in (b"x", gzip.compress(b"more")):
        twice = exchange(gzip.compress(b"x") + trailing, content_encoding=b"gzip")
        with pytest.raises(RequestError, match="one whole stream"):
            unpack(twice, 100)


def test_media_types() -> None:
    assert media_type(exchange()) == ""
    assert media_type(exchange(content_type=b"Text/CSV ; charset=UTF-8")) == "text/csv"
    with pytest.raises(UnsupportedMedia):
        media_type(exchange(content_type=b"text/csv; charset=latin-1"))
