"""The native reader of plain requests against the readers that it stands in for."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.models.signature import Input, Matrix, Output, Signature
from serving.gateway.inputs import RowEncoder
from serving.gateway.plain import PlainReader, Tray, library
from serving.gateway.protocols import mlflow, oip

WIDTH = 3
SIGNATURE = Signature(tuple(Input(f"x{i}") for i in range(WIDTH)), (Output("y"),))
ENCODER = RowEncoder(SIGNATURE)
READER = PlainReader(WIDTH)

pytestmark = pytest.mark.skipif(library() is None, reason="built without a C compiler")

#: Texts of numbers: what clients send, what rounds awkwardly, and what is no number at all.
numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-1e6, 1e6).map(lambda value: f"{value:.6f}"),
    st.integers(-(2**70), 2**70).map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,22})(\.[0-9]{1,22})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(
        ["null", "-0", "-0.0", "0e7", "9007199254740993", "9007199254740993.0", "1e22", "1e23",
         "18446744073709551616", "184467440737095516160", "8.5e-61", "5e-324", "1e400",
         "01", "1.", ".5", "+1", "-", "1e", "NaN", "true", '"1"', "[1]", "{}", "", "1 2"]
    ),
)  # fmt: skip
space = st.sampled_from(["", "", "", " ", "\n\t", "\r", "\x0b"])


@st.composite
def lists(draw: st.DrawFn, nested: bool) -> str:
    rows = draw(st.lists(st.lists(numbers, min_size=WIDTH, max_size=WIDTH), max_size=4))
    if draw(st.booleans()) and rows:
        rows[-1] = rows[-1][: draw(st.integers(0, WIDTH))]
    comma = draw(space) + "," + draw(space)
    texts = [comma.join(row) for row in rows]
    return f"[{comma.join(f'[{text}]' for text in texts)}]" if nested else f"[{comma.join(texts)}]"


@st.composite
def tensors(draw: st.DrawFn) -> str:
    members = {
        "name": draw(st.sampled_from(['"x"', '"x\\n"', '" "', '"é"', "1"])),
        "shape": draw(st.sampled_from(["[1,3]", "[2, 3]", "[3,3]", "[03,3]", "[1,3,1]", "[0,3]"])),
        "datatype": draw(st.sampled_from(['"FP64"', '"FP32"', '"INT64"', '"BYTES"', '"fp64"'])),
        "data": draw(lists(nested=draw(st.booleans()))),
    }
    extra = draw(st.sampled_from([[], [], [], ["name"], ["data"], ["parameters"]]))
    keys = draw(st.permutations([*members, *extra]))
    between = draw(space)
    content = ("," + between).join(f'"{key}"{between}:{members.get(key, "{}")}' for key in keys)
    head = draw(st.sampled_from(['"inputs"', '"inputs"', '"inputs"', '"id":"a","inputs"']))
    return f"{between}{{{head}:[{{{content}}}]}}{draw(st.sampled_from(['', '', ' ', ',', '}']))}"


def _oip(body: bytes) -> Matrix:
    return oip.inputs_of(oip.parse(body), ENCODER).encode(ENCODER)


def _mlflow(body: bytes) -> Matrix:
    return mlflow.inputs_of(mlflow.parse(body), SIGNATURE).encode(ENCODER)


@given(tensors())
def test_a_tensor_is_read_alike_or_not_at_all(text: str) -> None:
    body = text.encode()
    matrix = READER.tensor(body)
    if matrix is not None:
        assert matrix.tobytes() == _oip(body).tobytes()


@given(st.sampled_from(["instances", "inputs", "dataframe_split"]), lists(nested=True), space)
def test_rows_are_read_alike_or_not_at_all(key: str, rows: str, between: str) -> None:
    body = f'{{"{key}"{between}:{rows}}}{between}'.encode()
    matrix = READER.rows(body)
    if matrix is not None:
        assert matrix.tobytes() == _mlflow(body).tobytes()


@given(st.lists(tensors(), max_size=5), st.integers(1, 6), st.binary(max_size=5))
def test_a_tray_holds_what_single_bodies_would_give(
    texts: list[str], room: int, head: bytes
) -> None:
    tray = Tray("tensor", WIDTH, room)
    for _ in range(2):  # it is used again and again
        wanted: list[bytes] = []
        rows = 0
        for text in texts:
            body = text.encode()
            matrix = READER.tensor(body)
            added = tray.add(head + body, len(head), len(head) + len(body))
            fits = matrix is not None and rows + len(matrix) <= room
            assert added == (len(matrix) if matrix is not None and fits else 0)
            rows += added
            wanted += [matrix.tobytes()] if matrix is not None and added else []
        assert tray.take().tobytes() == b"".join(wanted)
    assert tray.take().shape == (0, WIDTH)


@given(st.lists(lists(nested=True), max_size=4))
def test_a_tray_of_rows(lists: list[str]) -> None:
    tray = Tray("rows", WIDTH, 100)
    bodies = [f'{{"instances":{rows}}}'.encode() for rows in lists]
    read = [READER.rows(body) for body in bodies]
    added = [tray.add(body, 0, len(body)) for body in bodies]
    assert added == [0 if matrix is None else len(matrix) for matrix in read]
    wanted = b"".join(matrix.tobytes() for matrix in read if matrix is not None)
    assert tray.take().tobytes() == wanted


@given(st.binary(max_size=60), st.integers(0, 200))
def test_a_damaged_body_is_read_alike_or_not_at_all(junk: bytes, place: int) -> None:
    body = b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP64","data":[1.5,null,-2e-3]}]}'
    damaged = body[:place] + junk + body[place + len(junk) // 2 :]
    for read, other in ((READER.tensor, _oip), (READER.rows, _mlflow)):
        matrix = read(damaged)
        if matrix is not None:
            assert matrix.tobytes() == other(damaged).tobytes()


@pytest.mark.parametrize("rows", [1, 2, 64, 2000])
def test_what_clients_send_is_read(rows: int) -> None:
    wanted = np.random.default_rng(rows).normal(size=(rows, WIDTH))
    tensor = {"name": "x", "shape": [rows, WIDTH], "datatype": "FP64", "data": wanted.tolist()}
    flat = {**tensor, "data": wanted.ravel().tolist()}
    for read, content in (
        (READER.tensor, {"inputs": [tensor]}),
        (READER.tensor, {"inputs": [flat]}),
        (READER.rows, {"instances": wanted.tolist()}),
        (READER.rows, {"inputs": wanted.tolist()}),
    ):
        matrix = read(json.dumps(content).encode())
        assert matrix is not None
        assert matrix.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("content", [{"inputs": []}, {"inputs": [[1, 2]]}, {"instances": []}, []])
def test_what_is_refused_is_left_to_the_library(content: Any) -> None:
    body = json.dumps(content).encode()
    assert READER.tensor(body) is None
    assert READER.rows(body) is None
