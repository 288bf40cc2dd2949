"""Sizes, and whether they fit."""

from __future__ import annotations

import itertools

import pytest

from pipelines.runners.sizes import (
    LADDER,
    SIZES,
    Capacity,
    _container_mb,
    fitting_size,
    machine_capacity,
    next_size,
    size_named,
)
from registry.errors import UsageError


def test_sizes_climb():
    sizes = [SIZES[name] for name in LADDER]
    for smaller, larger in itertools.pairwise(sizes):
        assert next_size(smaller.name) == larger.name
        assert smaller.memory_mb < larger.memory_mb
        assert smaller.cpus <= larger.cpus
    assert next_size(sizes[-1].name) is None


def test_a_gpu_is_no_answer_to_too_little_memory():
    assert set(SIZES) - set(LADDER) == {"gpu"}
    assert next_size("gpu") is None


@pytest.mark.parametrize(
    ("memory_mb", "name"), [(0, "s"), (1024, "s"), (1024.5, "m"), (9000, "xl"), (10**9, "xl")]
)
def test_the_smallest_size_that_allows_it(memory_mb, name):
    assert fitting_size(memory_mb) == name


def test_an_unknown_size_names_those_there_are():
    with pytest.raises(UsageError, match="s, m, l, xl"):
        size_named("huge")


@pytest.mark.parametrize(
    ("capacity", "fits"),
    [(Capacity(1, 4096), True), (Capacity(8, 4095), False), (Capacity(0, 9999), False)],
)
def test_what_can_never_fit_is_told_apart(capacity, fits):
    assert (capacity.never_fits(SIZES["m"]) == "") is fits


def test_a_shortage_says_what_is_taken():
    capacity, small = Capacity(2, 2048), SIZES["s"]
    used = Capacity(0, 0)
    assert capacity.shortage(small, used) == ""
    used = used.plus(small)
    assert capacity.shortage(small, used) == ""
    used = used.plus(small)
    assert "2 of 2 and 2048 of 2048 MiB are taken" in capacity.shortage(small, used)
    assert capacity.shortage(small, used.minus(small)) == ""


def test_the_machine_has_something():
    machine = machine_capacity()
    assert machine.cpus >= 1
    assert machine.memory_mb > 256


@pytest.mark.parametrize(("text", "expected"), [("1073741824\n", 1024), ("max\n", None)])
def test_the_limit_of_a_container_counts(tmp_path, text, expected):
    (tmp_path / "memory.max").write_text(text)
    without = _container_mb(tmp_path / "absent")
    assert _container_mb(tmp_path / "memory.max") == (expected or without)
