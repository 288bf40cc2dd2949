from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from registry.errors import BadData, Corrupt, NotFound, Refused
from registry.models.bundle import Bundle
from registry.models.golden import GoldenMismatch
from registry.models.predictor import open_checked, open_predictor
from registry.models.signature import Encoder
from tests.registry.models.conftest import data


def test_a_bundle_survives_reading(bundle):
    again = Bundle.read(bundle.folder)
    assert again == bundle
    predictor = open_checked(again)
    outputs = predictor.predict(Encoder(again.signature).encode_rows(again.golden.rows))
    np.testing.assert_array_equal(outputs, np.array(again.golden.outputs))
    predictor.close()


def test_one_predictor_serves_several_threads(bundle):
    predictor = open_checked(bundle)
    matrix = data(200, 9)
    want = predictor.predict(matrix)

    def singles(_):
        return np.concatenate([predictor.predict(row) for row in np.split(matrix, len(matrix))])

    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(singles, range(8)):
            np.testing.assert_array_equal(got, want)
    predictor.close()


def test_it_remembers_a_row_of_all_missing(bundle):
    assert set(bundle.golden.rows[-1].values()) == {None}


def test_a_changed_golden_output_is_refused(bundle):
    _edit(bundle.folder / "golden.json", lambda golden: golden["outputs"][0].__setitem__(0, 0.123))
    with pytest.raises(GoldenMismatch, match="row 0") as caught:
        open_checked(Bundle.read(bundle.folder))
    assert isinstance(caught.value, Refused)


def test_a_flipped_byte_of_the_model_never_reaches_the_library(bundle):
    path = bundle.model_path
    data = bytearray(path.read_bytes())
    for position in (0, len(data) // 2, len(data) - 1):
        flipped = bytes(data[:position]) + bytes([data[position] ^ 1]) + bytes(data[position + 1 :])
        path.write_bytes(flipped)
        with pytest.raises(Corrupt, match="damaged"):
            open_predictor(Bundle.read(bundle.folder))
    path.write_bytes(data[:-1])
    with pytest.raises(Corrupt):
        open_predictor(Bundle.read(bundle.folder))


@pytest.mark.parametrize("name", ["bundle.json", "signature.json", "golden.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"more": 1}', b"\xff\xfe", b"[" * 5000])
def test_a_malformed_part_is_named(bundle, name, content):
    (bundle.folder / name).write_bytes(content)
    with pytest.raises(BadData, match=name):
        Bundle.read(bundle.folder)


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("bundle.json", lambda header: header.update(format=2)),
        ("bundle.json", lambda header: header.update(flavor="pickle")),
        ("bundle.json", lambda header: header.update(extra=1)),
        ("golden.json", lambda golden: golden["outputs"].pop()),
        ("golden.json", lambda golden: golden["outputs"][0].append(1.0)),
        ("signature.json", lambda signature: signature["inputs"].append(signature["inputs"][0])),
    ],
)
def test_an_edited_part_is_refused(bundle, name, edit):
    _edit(bundle.folder / name, edit)
    with pytest.raises(BadData):
        Bundle.read(bundle.folder)


def test_a_signature_of_another_width_is_refused(bundle):
    _edit(bundle.folder / "signature.json", lambda signature: signature["inputs"].pop())
    with pytest.raises(BadData, match="6 inputs"):
        open_predictor(Bundle.read(bundle.folder))


def test_a_missing_part_is_not_found(bundle):
    bundle.model_path.unlink()
    with pytest.raises(NotFound):
        open_predictor(Bundle.read(bundle.folder))
    (bundle.folder / "golden.json").unlink()
    with pytest.raises(NotFound):
        Bundle.read(bundle.folder)


def _edit(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
