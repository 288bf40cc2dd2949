from __future__ import annotations

import os
from dataclasses import replace

import pytest

from jobs.training import cache
from jobs.training import lightgbm as ours
from jobs.training.bins import Rows
from jobs.training.window import open_window
from tests.jobs.training.conftest import DATE, VIEW, a_fitting


@pytest.fixture
def binned(monkeypatch):
    """How often rows were binned anew; every window is large enough to be kept."""
    monkeypatch.setattr(cache, "LEAST_ROWS", 1)
    made = []
    from_window = Rows.from_window

    def spy(window, signature, settings):
        made.append(len(window))
        return from_window(window, signature, settings)

    monkeypatch.setattr(Rows, "from_window", spy)
    return made


def test_the_same_bytes_with_and_without(window, signature, tmp_path, binned):
    plain = ours.train(a_fitting(window, signature))
    kept = [ours.train(a_fitting(window, signature, cache=tmp_path / "binned")) for _ in range(3)]
    assert all(each == plain for each in kept)
    assert len(binned) == 2
    weighted = {"weights": (0.5, 2.0)}
    anew = ours.train(a_fitting(window, signature, **weighted))
    assert ours.train(a_fitting(window, signature, cache=tmp_path / "binned", **weighted)) == anew
    assert len(binned) == 3


@pytest.mark.parametrize("where", [0, 5_000, -1])
def test_a_damaged_file_is_made_again(window, signature, tmp_path, binned, where):
    fitting = a_fitting(window, signature, cache=tmp_path)
    first = ours.train(fitting)
    (path,) = tmp_path.glob("*.bin")
    data = bytearray(path.read_bytes())
    data[where] ^= 1
    path.write_bytes(data)
    assert ours.train(fitting) == first
    assert len(binned) == 2
    (mended,) = tmp_path.glob("*.bin")
    assert mended.name == path.name
    assert cache._digest(mended) in mended.name


def test_what_was_cut_short_is_made_again(window, signature, tmp_path, binned):
    fitting = a_fitting(window, signature, cache=tmp_path)
    first = ours.train(fitting)
    (path,) = tmp_path.glob("*.bin")
    path.write_bytes(path.read_bytes()[:100])
    assert ours.train(fitting) == first


def test_the_key_covers_what_bins_depend_on(window, days, signature, tmp_path):
    def key(fitting):
        return cache.key_of(fitting, ours._settings(fitting))

    fitting = a_fitting(window, signature)
    same: list[dict[str, float]] = [{"num_leaves": 9}, {"learning_rate": 0.2}]
    other: list[dict[str, float]] = [
        {"max_bin": 15},
        {"min_data_in_leaf": 3},
        {"bin_construct_sample_cnt": 50},
    ]
    assert {key(replace(fitting, model=model)) for model in same} == {key(fitting)}
    keys = {key(replace(fitting, model=model)) for model in other}
    keys |= {key(replace(fitting, window=window.before_last(1)[0])), key(replace(fitting, seed=4))}
    keys.add(key(replace(fitting, window=open_window(VIEW, days, DATE.replace(day=10)))))
    known = {n: v[:-1] for n, v in window.vocabularies().items()}
    keys.add(key(replace(fitting, signature=VIEW.signature(known, ["probability"]))))
    assert len(keys) == 7
    assert key(fitting) not in keys


def test_a_full_disk_is_no_reason_not_to_train(window, signature, tmp_path, binned):
    (tmp_path / "binned").write_text("not a folder")
    fitting = a_fitting(window, signature, cache=tmp_path / "binned")
    assert ours.train(fitting) == ours.train(a_fitting(window, signature))


def test_what_was_not_used_for_longest_goes_first(tmp_path):
    for number in range(4):
        path = tmp_path / f"{number}.bin"
        path.write_bytes(b"x" * 100)
        os.utime(path, (number, number))
    cache._shrink(tmp_path, 250)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2.bin", "3.bin"]


def test_no_cache_where_it_is_turned_off(window, signature, tmp_path, binned, monkeypatch):
    monkeypatch.setenv("PENSTOCK_BINNED_MB", "0")
    ours.train(a_fitting(window, signature, cache=tmp_path))
    assert not list(tmp_path.iterdir())
