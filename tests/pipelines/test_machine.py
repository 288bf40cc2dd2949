"""What doctor tells of this machine's cards, and which steps ask for one."""

from __future__ import annotations

import os
from typing import Any

import pytest

from pipelines.commands.checks import check_machine
from pipelines.runners.sizes import SIZES
from pipelines.session import using
from pipelines.train import Train
from registry.gpus import SIZE, Ledger
from registry.settings import Settings
from tests.nvml import FakeCard, nvml_of
from tests.pipelines.small import DAY, NAME


def told(tmp_path):
    settings = Settings.load({}, gpu_ledger=tmp_path)
    return [(c.status, c.found) for c in check_machine(settings) if c.name == "gpu"]


def test_cards_and_who_has_them(tmp_path):
    cards = [
        FakeCard("GPU-1", free_mb=100), FakeCard("GPU-2", busy=40), FakeCard("GPU-3", 1000, busy=None),
    ]  # fmt: skip
    with nvml_of(*cards):
        lock = Ledger(tmp_path).take("GPU-1", "train flights")
        assert lock is not None
        found = told(tmp_path)
        os.close(lock)
    held = f"held by train flights, process {os.getpid()}"
    assert found == [
        ("ok", f"Simulated GPU-1: 100 of 8192 MiB free, 0 % busy; {held}"),
        ("ok", "Simulated GPU-2: 8000 of 8192 MiB free, 40 % busy; free"),
        ("warn", "Simulated GPU-3: 1000 of 8192 MiB free; free"),
    ]


def test_a_machine_without_cards(tmp_path):
    ((status, found),) = told(tmp_path)
    assert status == "ok"
    assert found.startswith("there is no GPU (NVML: ")


@pytest.mark.parametrize(("algorithm", "size"), [("catboost", "gpu"), ("lightgbm", "m")])
def test_a_size_may_be_that_of_one_algorithm(usecase, world, algorithm, size):
    usecase(sizes={"train": "m", "train.catboost": "gpu"})
    with using(world.session()):
        about: dict[str, Any] = {"usecase": NAME, "date": DAY, "algorithm": algorithm}
        assert Train(**about).size == size


def test_jobs_look_for_a_card_in_the_size_that_has_one():
    assert [size.name for size in SIZES.values() if size.gpus] == [SIZE]
