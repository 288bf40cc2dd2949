"""On what CatBoost trains: the card of a job that asked for one, else the processors, told."""

from __future__ import annotations

import os

import catboost
import numpy as np
import pytest

from jobs import device
from jobs.__main__ import main
from registry.artifacts.attempt import JobSpec, RecipeRecord, open_attempt
from registry.artifacts.fetch import find_manifest
from registry.artifacts.store import open_store
from registry.gpus import Ledger
from registry.models.catboost import to_bytes
from registry.settings import Settings
from tests.jobs.test_main import Job, writes
from tests.nvml import FakeCard, nvml_of
from tests.registry.makers import a_recipe

CARD = FakeCard("GPU-one")
MODEL = {"iterations": 5, "thread_count": 1, "random_seed": 1, "loss_function": "Logloss",
         "verbose": False, "allow_writing_files": False}  # fmt: skip


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger")


@pytest.fixture
def settings(tmp_path):
    return Settings.load({}, gpu_ledger=tmp_path / "ledger", gpu_wait=0)


@pytest.fixture(autouse=True)
def visible(monkeypatch):
    """What is set by a placement goes with the test."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "all")


def an_attempt(tmp_path, size):
    spec = JobSpec("train", RecipeRecord.of(a_recipe()), {})
    return open_attempt(
        open_store(str(tmp_path / "attempts")), spec, 1, size=size, runner="stub", host="",
        run="run-1", timeout=60, step="train flights",
    )  # fmt: skip


def fit(model):
    draw = np.random.default_rng(1)
    rows = draw.normal(size=(200, 3))
    model.fit(catboost.Pool(rows, (rows[:, 0] > 0).astype(float)))


def train(tmp_path, settings, size="gpu"):
    """The bytes of a model, and what the device told."""
    with device.device_of(an_attempt(tmp_path, size), settings) as used:
        return to_bytes(device.trained(MODEL, fit)), used


def plain():
    model = catboost.CatBoost(MODEL)
    fit(model)
    return to_bytes(model)


def test_other_sizes_look_for_no_card(tmp_path, settings):
    with nvml_of(CARD) as nvml:
        nvml.cards = []
        nvml.failing = -1  # any question would raise
        made, used = train(tmp_path, settings, "s")
    assert made == plain()
    assert (used.used, used.resources) == ("", {})


def test_without_a_driver_the_processors_train_and_say_so(tmp_path, settings, capfd):
    made, used = train(tmp_path, settings)
    assert made == plain()
    assert used.used.startswith("processor (there is no GPU: NVML: ")
    assert "device: training on the processors: there is no GPU: NVML: " in capfd.readouterr().err


def test_a_card_that_is_held_is_named(tmp_path, settings, ledger):
    with nvml_of(CARD):
        lock = ledger.take("GPU-one", "train flights 2013-01-01")
        made, used = train(tmp_path, settings)
        os.close(lock)
    assert made == plain()
    assert "no GPU is free: Simulated GPU-one: held by train flights 2013-01-01" in used.used


def test_what_the_library_refuses_falls_back(tmp_path, settings, ledger, capfd):
    """The real CatBoost, which finds no CUDA behind the simulated card."""
    with nvml_of(CARD):
        made, used = train(tmp_path, settings)
        assert ledger.holder("GPU-one") is None
    assert made == plain()
    assert used.used.startswith("processor (CatBoost refuses the GPU: ")
    assert "CUDA" in capfd.readouterr().err


def test_wrong_hyperparameters_are_told_as_ever(tmp_path, settings):
    with (
        nvml_of(CARD),
        device.device_of(an_attempt(tmp_path, "gpu"), settings),
        pytest.raises(catboost.CatBoostError, match="depth"),
    ):
        device.trained(MODEL | {"depth": 99}, fit)


def test_on_a_card_it_is_held_for_as_long_as_the_training(tmp_path, settings, ledger, monkeypatch):
    """A training that takes the GPU's settings and goes on without one: none is here to use."""
    asked = []

    def without_cuda(settings, fit):
        asked.append((settings.pop("task_type"), settings.pop("devices")))
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-one"
        assert ledger.holder("GPU-one") == f"train flights, process {os.getpid()}"
        model = catboost.CatBoost(settings)
        fit(model)
        return model

    monkeypatch.setattr(device, "_fitted", without_cuda)
    with nvml_of(CARD):
        _, used = train(tmp_path, settings)
        assert ledger.holder("GPU-one") is None
    assert asked == [("GPU", "0")]
    assert used.used == "Simulated GPU-one"
    assert used.resources["gpu_free_mb"] == 8000


def test_the_manifest_tells_the_device(tmp_path, monkeypatch):
    monkeypatch.setenv("PENSTOCK_VAR", str(tmp_path / "var"))
    monkeypatch.setenv("PENSTOCK_GPU_LEDGER", str(tmp_path / "ledger"))

    def trains(inputs, parameters, out):
        (out / "model.cbm").write_bytes(to_bytes(device.trained(MODEL, fit)))
        return writes(inputs, parameters, out)

    job = Job(str(tmp_path / "store"), monkeypatch).does(trains)
    spec = JobSpec("train", RecipeRecord.of(a_recipe()), {})
    attempt = open_attempt(
        job.store, spec, 1, size="gpu", runner="stub", host="", run="run-1", timeout=60
    )
    assert main(job.words(attempt)) == 0
    manifest = find_manifest(job.store, a_recipe())
    assert manifest is not None
    assert str(manifest.producer.device).startswith("processor (there is no GPU")
