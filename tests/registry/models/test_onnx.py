"""What is written runs in onnxruntime, and differs by what stands beside it."""

from __future__ import annotations

import json
from pathlib import Path

import lightgbm
import numpy as np
import onnx
import onnxruntime
import pytest

from registry.errors import BadData, ConfigError, Refused, StoreUnwritable
from registry.models.building import build_bundle
from registry.models.bundle import Bundle
from registry.models.catboost import link_of, to_bytes
from registry.models.onnx import graph
from registry.models.onnx.export import export_onnx
from registry.models.predictor import open_checked
from registry.models.signature import Input, Output, Signature, encode_columns
from tests.registry.models.conftest import (
    CATEGORIES,
    data,
    signature,
    train_catboost,
    train_lightgbm,
)

NAMES = list(signature().names)


def rows(count: int = 500) -> list[dict[str, object]]:
    """Numbers with gaps, infinities and huge values, categories that are seen and that are not."""
    matrix = data(count, 5)
    kinds = [None if np.isnan(code) else f"c{int(code):02d}" for code in matrix[:, 5]]
    return [
        {**dict(zip(NAMES[:5], values[:5].tolist(), strict=True)), "kind": kind}
        for values, kind in zip(matrix, kinds, strict=True)
    ]


def outputs(
    path: Path, bundle: Bundle, sample: list[dict[str, object]]
) -> tuple[np.ndarray, np.ndarray]:
    """What the file gives, and what the bundle gives."""
    matrix = encode_columns(
        bundle.signature, {n: [row[n] for row in sample] for n in bundle.signature.names}
    )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with np.errstate(over="ignore"):
        (got,) = session.run(["outputs"], {"inputs": matrix.astype(np.float32)})
    return got, open_checked(bundle).predict(matrix)


def test_the_file_gives_what_the_bundle_gives(bundle, tmp_path):
    target, sample = tmp_path / "model.onnx", rows()
    deviation = export_onnx(bundle, target, sample, about={"key": "k" * 64})
    assert 0 < deviation.largest < 1e-6
    assert deviation.rows == 500
    got, want = outputs(target, bundle, sample)
    assert got.shape == want.shape == (500, 1)
    assert np.abs(got - want).max() <= deviation.largest
    onnx.checker.check_model(onnx.load(target), full_check=True)


def test_what_was_measured_stands_beside_and_within(bundle, tmp_path):
    target = tmp_path / "model.onnx"
    deviation = export_onnx(bundle, target, rows(50), about={"key": "k" * 64})
    facts = json.loads((tmp_path / "model.onnx.json").read_text())
    assert facts["deviation"] == {
        "golden": deviation.golden, "sample": deviation.sample, "rows": 50, "tolerance": 1e-5,
    }  # fmt: skip
    assert facts["signature"]["inputs"][5]["categories"] == list(CATEGORIES)
    within = {each.key: each.value for each in onnx.load(target).metadata_props}
    assert within["penstock.key"] == "k" * 64
    assert json.loads(within["penstock.deviation"]) == facts["deviation"]
    assert json.loads(within["penstock.signature"]) == facts["signature"]
    again = tmp_path / "again.onnx"
    export_onnx(bundle, again, rows(50), about={"key": "k" * 64})
    assert again.read_bytes() == target.read_bytes()


def test_above_the_tolerance_nothing_is_written(bundle, tmp_path):
    with pytest.raises(Refused, match=r"differs from the bundle by .*more than 1e-12.*--tolerance"):
        export_onnx(bundle, tmp_path / "model.onnx", rows(), tolerance=1e-12)
    assert not list(tmp_path.glob("*onnx*"))


def a_bundle(folder: Path, flavor, model, link, names, outputs, row) -> Bundle:
    folder.mkdir()
    inputs = tuple(Input(name) for name in names)
    made = Signature(inputs, tuple(Output(name) for name in outputs))
    return build_bundle(folder, flavor=flavor, model=model, link=link, signature=made, rows=[row])


def test_numbers_that_float32_cannot_tell_apart_are_refused(tmp_path):
    """The bundle splits at 2**24 + 0.5; in float32 both sides are one number."""
    values = 2.0**24 + np.arange(200)[:, None] % 2
    trained = lightgbm.train(
        {"objective": "binary", "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5},
        lightgbm.Dataset(values, (values[:, 0] % 2).astype(int), feature_name=["x"]), 5,
    )  # fmt: skip
    model = trained.model_to_string().encode()
    bundle = a_bundle(tmp_path / "b", "lightgbm", model, None, ["x"], ["p"], {"x": 2.0**24 + 1})
    sample = [{"x": float(value)} for value in values[:2, 0]]
    with pytest.raises(Refused, match="differs from the bundle"):
        export_onnx(bundle, tmp_path / "model.onnx", sample)


@pytest.mark.parametrize("kind", ["multiclass", "regression", "MultiClass", "RMSE"])
def test_other_outputs(tmp_path, kind):
    several = kind.lower() == "multiclass"
    if kind[0].isupper():
        trained = train_catboost(loss_function=kind)
        flavor, model, link = "catboost", to_bytes(trained), link_of(trained)
    else:
        more = {"num_class": 3} if several else {}
        text = train_lightgbm(objective=kind, **more).model_to_string()
        flavor, model, link = "lightgbm", text.encode(), None
    names = ["a", "b", "c"] if several else ["value"]
    row = dict.fromkeys(NAMES, 1.0)
    bundle = a_bundle(tmp_path / "b", flavor, model, link, NAMES, names, row)
    sample = [dict(zip(NAMES, values, strict=True)) for values in data(200, 3).tolist()]
    target = tmp_path / "model.onnx"
    deviation = export_onnx(bundle, target, sample)
    got, want = outputs(target, bundle, sample)
    assert got.shape == want.shape == (200, len(names))
    assert np.abs(got - want).max() <= deviation.largest < 1e-5


def test_what_the_converter_does_not_know_is_refused(bundle, tmp_path, monkeypatch):
    def broken(bundle):
        raise NotImplementedError("linear trees\nare not there")

    monkeypatch.setattr(graph, f"_{bundle.flavor}", broken)
    with pytest.raises(BadData, match=r"cannot be expressed in ONNX: linear trees\. Use"):
        export_onnx(bundle, tmp_path / "model.onnx")


def test_a_library_that_is_not_there_is_named(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(graph, "LIBRARIES", ("onnx", "no_such_library"))
    with pytest.raises(ConfigError, match=r"not installed: no_such_library\. Install"):
        export_onnx(bundle, tmp_path / "model.onnx")


def test_a_place_that_cannot_be_written(bundle, tmp_path):
    with pytest.raises(StoreUnwritable, match="cannot be written"):
        export_onnx(bundle, tmp_path / "no" / "model.onnx")


def test_a_damaged_model_is_not_exported(bundle, tmp_path):
    bundle.model_path.write_bytes(bundle.model_path.read_bytes() + b"x")
    with pytest.raises(BadData, match="damaged"):
        export_onnx(bundle, tmp_path / "model.onnx")
