from __future__ import annotations

import math

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import BadData
from registry.models.signature import (
    EXACT_INTEGER,
    Encoder,
    Input,
    Output,
    Signature,
    encode_columns,
)
from registry.models.tables import encode_table

MIXED = Signature(
    (
        Input("number"),
        Input("count", "int64"),
        Input("flag", "bool"),
        Input("kind", "category", ("a", "b", "é")),
    ),
    (Output("p"),),
)

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "number": st.none() | st.floats(),
            "count": st.none() | st.integers(-EXACT_INTEGER, EXACT_INTEGER),
            "flag": st.none() | st.booleans(),
            "kind": st.none() | st.sampled_from(["a", "b", "é", "unseen", ""]),
        }
    ),
    max_size=8,
)
TYPES = {"number": pa.float64(), "count": pa.int64(), "flag": pa.bool_(), "kind": pa.string()}


def _columns(rows):
    return {name: [row[name] for row in rows] for name in MIXED.names}


def _expected(row):
    def number(value):
        return math.nan if value is None else float(value)

    codes = {"a": 0.0, "b": 1.0, "é": 2.0}
    return [number(row["number"]), number(row["count"]), number(row["flag"]),
            codes.get(row["kind"], math.nan)]  # fmt: skip


@given(ROWS)
def test_columns_rows_tables_and_single_rows_agree(rows):
    encoder = Encoder(MIXED)
    matrix = encoder.encode_columns(_columns(rows))
    assert matrix.dtype == np.float64
    assert matrix.shape == (len(rows), 4)
    assert matrix.flags.c_contiguous
    np.testing.assert_array_equal(matrix, np.array([_expected(r) for r in rows]).reshape(-1, 4))
    singles = [encoder.encode_rows([row]) for row in rows]
    np.testing.assert_array_equal(matrix, np.concatenate([np.empty((0, 4)), *singles]))
    arrays = {n: pa.array([r[n] for r in rows], TYPES[n]) for n in MIXED.names}
    np.testing.assert_array_equal(matrix, encode_table(MIXED, pa.table(arrays)))
    arrays["kind"] = arrays["kind"].dictionary_encode()
    np.testing.assert_array_equal(matrix, encode_table(MIXED, pa.record_batch(arrays)))


@given(ROWS)
def test_numpy_columns_agree_with_lists(rows):
    columns = {name: np.array(values, dtype=object) for name, values in _columns(rows).items()}
    np.testing.assert_array_equal(
        encode_columns(MIXED, columns), encode_columns(MIXED, _columns(rows))
    )


def test_typed_numpy_columns():
    columns: dict[str, np.ndarray] = {
        "number": np.array([1.5, np.nan], dtype=np.float32),
        "count": np.array([3, 4], dtype=np.uint8),
        "flag": np.array([True, False]),
        "kind": np.array(["b", "z"]),
    }
    want = [[1.5, 3, 1, 1], [np.nan, 4, 0, np.nan]]
    np.testing.assert_array_equal(encode_columns(MIXED, columns), want)


def test_a_frame_writes_a_missing_text_as_nan():
    columns: dict[str, list[object]] = {
        "number": [1.0],
        "count": [1],
        "flag": [1],
        "kind": [math.nan],
    }
    assert math.isnan(encode_columns(MIXED, columns)[0, 3])


def test_slices_and_chunks_of_tables_are_respected():
    table = pa.table({"number": [0.0, 1, 2, 3], "count": [0, 1, 2, 3], "flag": [True] * 4,
                      "kind": ["a", "b", None, "a"]})  # fmt: skip
    chunked = pa.concat_tables([table.slice(1, 2), table.slice(3)])
    np.testing.assert_array_equal(encode_table(MIXED, chunked), encode_table(MIXED, table)[1:])


def test_a_null_column_is_missing():
    table = pa.table({name: pa.nulls(2) for name in MIXED.names})
    assert np.isnan(encode_table(MIXED, table)).all()


@given(st.text(max_size=5), st.sampled_from(["missing", "error"]))
def test_unseen_and_missing_policies(value, unseen):
    signature = Signature(
        (Input("kind", "category", ("a",), unseen=unseen, missing="error"),), (Output("p"),)
    )
    if value == "a":
        assert encode_columns(signature, {"kind": [value]})[0, 0] == 0
        return
    for encode in (
        lambda: encode_columns(signature, {"kind": [value]}),
        lambda: encode_table(signature, pa.table({"kind": [value]})),
    ):
        with pytest.raises(BadData, match="kind"):
            encode()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("number", "1.5"),
        ("number", [1.0]),
        ("number", True),
        ("number", 10**400),
        ("count", 1.5),
        ("count", math.inf),
        ("count", EXACT_INTEGER * 2 + 2),
        ("flag", 2),
        ("flag", "true"),
        ("kind", 3),
        ("kind", ["a"]),
        ("kind", b"a"),
    ],
)
def test_a_wrong_value_is_named_with_its_row(name, value):
    columns: dict[str, list[object]] = {n: [None, None, None] for n in MIXED.names}
    columns[name] = [None, None, value]
    with pytest.raises(BadData, match=f"'{name}', row 2"):
        encode_columns(MIXED, columns)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("number", pa.array(["1.5"])),
        ("number", pa.array([True])),
        ("count", pa.array([1.5])),
        ("kind", pa.array([1])),
        ("kind", pa.array([b"a"])),
        ("flag", pa.array([7])),
    ],
)
def test_a_wrong_table_column_is_named(name, column):
    columns = {n: pa.nulls(1) for n in MIXED.names} | {name: column}
    with pytest.raises(BadData, match=name):
        encode_table(MIXED, pa.table(columns))


def test_missing_and_unknown_columns_are_named():
    with pytest.raises(BadData, match=r"missing: flag, kind; unknown: colour"):
        encode_columns(MIXED, {"number": [], "count": [], "colour": []})
    with pytest.raises(BadData, match=r"flag is missing; kind is missing"):
        encode_table(MIXED, pa.table({"number": [1.0], "count": [1]}))


def test_unequal_lengths():
    with pytest.raises(BadData, match="differ in length"):
        encode_columns(MIXED, {"number": [1], "count": [], "flag": [], "kind": []})


@pytest.mark.parametrize(
    "text",
    [
        '{"inputs": [], "outputs": [{"name": "p"}]}',
        '{"inputs": [{"name": "a"}, {"name": "a"}], "outputs": [{"name": "p"}]}',
        '{"inputs": [{"name": "a"}], "outputs": []}',
        '{"inputs": [{"name": ""}], "outputs": [{"name": "p"}]}',
        '{"inputs": [{"name": "a", "type": "category"}], "outputs": [{"name": "p"}]}',
        '{"inputs": [{"name": "a", "categories": ["x"]}], "outputs": [{"name": "p"}]}',
        (
            '{"inputs": [{"name": "a", "type": "category", "categories": ["x", "x"]}], '
            '"outputs": [{"name": "p"}]}'
        ),
    ],
)
def test_a_malformed_signature_is_refused(text):
    with pytest.raises(BadData):
        msgspec.json.decode(text, type=Signature)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5, unique=True))
def test_a_signature_survives_json(names):
    signature = Signature(
        tuple(Input(name, "category", tuple(names)) for name in names), (Output("p"),)
    )
    assert msgspec.json.decode(msgspec.json.encode(signature), type=Signature) == signature
