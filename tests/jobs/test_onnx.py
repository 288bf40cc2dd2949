"""Models of flights as ONNX, on a day that they have not seen."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from jobs import train
from jobs.tables import read_table
from registry.errors import Refused
from registry.models.bundle import Bundle
from registry.models.onnx.export import export_onnx
from registry.models.predictor import open_checked
from registry.models.sample import first_rows
from registry.models.tables import encode_table
from tests.jobs.conftest import training


@pytest.mark.parametrize("algorithm", ["lightgbm", "catboost"])
def test_a_day_of_flights(featured, out, tmp_path, algorithm):
    train.run({"features": featured[:4]}, training(algorithm), out)
    bundle, day = Bundle.read(out), featured[4] / "features.parquet"
    target = tmp_path / "flights.onnx"
    deviation = export_onnx(bundle, target, first_rows(day, bundle.signature, 10_000))
    assert deviation.largest < 1e-6
    table = read_table(day)
    assert deviation.rows == table.num_rows
    matrix = encode_table(bundle.signature, table)
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    (got,) = session.run(["outputs"], {"inputs": matrix.astype(np.float32)})
    np.testing.assert_allclose(got, open_checked(bundle).predict(matrix), rtol=0, atol=1e-6)


def test_a_model_of_ones_own_is_refused(featured, out, tmp_path):
    train.run({"features": featured[:4]}, training("logistic"), out)
    with pytest.raises(Refused, match="flights/logistic version 1 cannot be exported"):
        export_onnx(Bundle.read(out), tmp_path / "flights.onnx")
