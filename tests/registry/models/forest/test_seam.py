"""Which evaluator stands behind `open_predictor`, and that golden rows ask that one."""

from __future__ import annotations

import io
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from registry.errors import BadData, ConfigError
from registry.logs import configure
from registry.models.building import build_bundle
from registry.models.forest import library as module
from registry.models.forest.evaluator import ForestPredictor
from registry.models.golden import GoldenMismatch
from registry.models.lightgbm import LightGBMPredictor
from registry.models.predictor import open_checked, open_predictor, open_shared
from tests.registry.models.conftest import data

ROW = {**{f"x{i}": float(i) for i in range(5)}, "kind": "c03"}


@pytest.fixture
def bundle(lightgbm_model, tmp_path):
    return make(lightgbm_model, lightgbm_model.model, tmp_path)


def make(small, model, folder):
    signature = small.signature
    return build_bundle(
        folder, flavor="lightgbm", model=model, link=None, signature=signature, rows=[ROW]
    )


@pytest.fixture
def said():
    stream = io.StringIO()
    configure("warning", stream=stream)
    yield stream.getvalue
    configure("warning")


def test_a_lightgbm_model_runs_natively(bundle, monkeypatch):
    predictor = open_checked(bundle)
    assert isinstance(predictor, ForestPredictor)
    monkeypatch.setenv("PENSTOCK_FOREST", "off")
    library = open_checked(bundle)
    assert isinstance(library, LightGBMPredictor)
    np.testing.assert_allclose(
        predictor.predict(data(50, 1)), library.predict(data(50, 1)), rtol=1e-12
    )
    predictor.close()
    library.close()
    monkeypatch.setenv("PENSTOCK_FOREST", "perhaps")
    with pytest.raises(ConfigError, match="PENSTOCK_FOREST"):
        open_predictor(bundle)


def test_who_finds_an_image_needs_no_model_file(bundle, tmp_path):
    images = tmp_path / "images"
    assert open_shared(bundle, images) is None
    first = open_predictor(bundle, images=images)
    bundle.model_path.unlink()
    second = open_shared(bundle, images)
    assert second is not None
    assert second.predict(data(50, 1)).tobytes() == first.predict(data(50, 1)).tobytes()
    for predictor in (first, second):
        predictor.close()


def test_an_image_of_other_columns_is_refused(bundle, tmp_path):
    images = tmp_path / "images"
    open_predictor(bundle, images=images).close()
    inputs = bundle.signature.inputs[1:]
    narrower = replace(bundle, signature=msgspec.structs.replace(bundle.signature, inputs=inputs))
    with pytest.raises(BadData, match="does not fit its signature"):
        open_shared(narrower, images)


def test_golden_rows_ask_the_evaluator_that_serves(bundle, monkeypatch):
    real = ForestPredictor.predict
    monkeypatch.setattr(ForestPredictor, "predict", lambda *a: real(*a) * (1 + 1e-9))
    with pytest.raises(GoldenMismatch):
        open_checked(bundle)


def test_what_is_not_supported_is_said_and_the_library_takes_over(lightgbm_model, tmp_path, said):
    line = next(
        line for line in lightgbm_model.model.splitlines() if line.startswith(b"threshold=")
    )
    word = max(line.partition(b"=")[2].split(b" "), key=len)  # no number of a category set
    # Of the same length: tree_sizes stays true.
    edited = lightgbm_model.model.replace(line, line.replace(word, b"nan".rjust(len(word)), 1), 1)
    predictor = open_checked(make(lightgbm_model, edited, tmp_path))
    assert isinstance(predictor, LightGBMPredictor)
    assert said().count("\n") == 1
    assert "a threshold is NaN" in said()
    predictor.close()


@pytest.mark.parametrize("broken", ["absent", "foreign"])
def test_without_the_native_library_one_line_says_so(bundle, monkeypatch, tmp_path, said, broken):
    (tmp_path / "library.py").touch()
    if broken == "foreign":
        (tmp_path / "_native.so").write_bytes(b"\x7fELF of another machine")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "library.py"))
    module.library.cache_clear()
    try:
        for _ in range(2):
            predictor = open_checked(bundle)
            assert isinstance(predictor, LightGBMPredictor)
            predictor.close()
    finally:
        module.library.cache_clear()
    assert said().count("\n") == 1
    assert "several times slower" in said()
