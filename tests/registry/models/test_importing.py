from __future__ import annotations

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from registry.errors import BadData, NotFound
from registry.models.importing import flavor_of, import_model
from registry.models.predictor import open_checked
from registry.models.signature import Encoder


@pytest.fixture
def file(small, tmp_path):
    path = tmp_path / ("model.txt" if small.flavor == "lightgbm" else "model.cbm")
    path.write_bytes(small.model)
    return path


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "imported"
    path.mkdir()
    return path


def test_a_file_becomes_a_bundle(small, file, folder):
    bundle = import_model(file, folder, outputs=["late"])
    assert bundle.flavor == small.flavor
    assert bundle.signature.names == small.signature.names
    assert [output.name for output in bundle.signature.outputs] == ["late"]
    open_checked(bundle).close()


def test_golden_rows_come_from_a_sample(file, folder, tmp_path):
    rows = {f"x{i}": [float(i), None] for i in range(5)} | {"kind": [3, 4], "id": ["a", "b"]}
    pq.write_table(pa.table(rows), tmp_path / "sample.parquet")
    bundle = import_model(file, folder, tmp_path / "sample.parquet")
    assert bundle.golden.rows[0]["x3"] == 3.0
    assert len(bundle.golden.rows) == 3


def test_a_sample_that_does_not_fit(file, folder, tmp_path):
    pq.write_table(pa.table({"x0": [1.0]}), tmp_path / "sample.parquet")
    with pytest.raises(BadData, match="x1 is missing"):
        import_model(file, folder, tmp_path / "sample.parquet")


def test_a_wrong_number_of_outputs(file, folder):
    with pytest.raises(BadData, match="1 outputs"):
        import_model(file, folder, outputs=["a", "b"])


def test_pandas_vocabularies_become_categories(tmp_path, folder):
    names = np.array(["jfk", "lga", "ewr"])[np.arange(300) % 3]
    frame = pd.DataFrame({"n": np.arange(300.0), "airport": pd.Categorical(names)})
    labels = (names == "jfk") | (frame["n"] > 250)
    settings = {"objective": "binary", "verbosity": -1, "min_data_per_group": 1, "cat_smooth": 1}
    booster = lightgbm.train(settings, lightgbm.Dataset(frame, labels), 5)
    booster.save_model(str(tmp_path / "m.txt"))
    bundle = import_model(tmp_path / "m.txt", folder)
    assert bundle.signature.inputs[1].categories == ("ewr", "jfk", "lga")
    columns = {"n": frame["n"].to_numpy(), "airport": names}
    got = open_checked(bundle).predict(Encoder(bundle.signature).encode_columns(columns))
    np.testing.assert_array_equal(got[:, 0], booster.predict(frame))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04\x95pickle", b"{}", b"tree"])
def test_what_is_no_model(content, tmp_path, folder):
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(BadData, match="neither"):
        import_model(tmp_path / "m", folder)


def test_no_file(tmp_path, folder):
    with pytest.raises(NotFound):
        flavor_of(tmp_path / "nothing")


@pytest.mark.parametrize("cut", [0.4, 0.97])
def test_a_truncated_model_is_bad_data(file, folder, cut):
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * cut)])
    with pytest.raises(BadData):
        import_model(file, folder)


@pytest.mark.campaign
def test_flipped_bits_give_a_bundle_or_bad_data(small, file, folder, campaign):
    """Whatever the native parser does, it does it in a child; no flip ends this process."""
    for turn in campaign.rounds(short=3):
        data = bytearray(small.model)
        for _ in range(turn.random.choice((1, 1, 4))):
            data[turn.random.randrange(5, len(data))] ^= 1 << turn.random.randrange(8)
        file.write_bytes(data)
        try:
            bundle = import_model(file, folder, timeout=20)
        except BadData:
            continue
        assert bundle.flavor == small.flavor
