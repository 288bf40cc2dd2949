from __future__ import annotations

import numpy as np
import pytest

from jobs.training import window as window_module
from jobs.training.window import open_window
from jobs.window import read_window
from registry.errors import BadData
from registry.models.tables import encode_table
from tests.jobs.training.conftest import DATE, VIEW, write_day


@pytest.mark.parametrize("chunk", [100, 32_768])
def test_chunks_are_the_rows_of_the_whole(days, signature, monkeypatch, chunk):
    monkeypatch.setattr(window_module, "CHUNK", chunk)
    window = open_window(VIEW, days, DATE)
    table, labels = read_window(VIEW, days, DATE)
    whole = encode_table(signature, table)
    np.testing.assert_array_equal(window.labels, labels)
    np.testing.assert_array_equal(window.matrix(signature), whole)
    assert window.vocabularies() == VIEW.vocabularies(table)
    positions = np.array([0, 1, 99, 2_666, 2_667, len(window) - 1])
    rows = window.rows(positions)
    assert rows == table.select(VIEW.names).take(positions).to_pylist()


def test_row_groups_that_nobody_asks_for_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("jobs.tables.ROW_GROUP", 500)
    window = open_window(VIEW, [write_day(tmp_path, 1)], DATE)
    read = []
    of_group = window_module._of_group

    def spy(file, group, columns, known):
        read.append(group)
        yield from of_group(file, group, columns, known)

    monkeypatch.setattr(window_module, "_of_group", spy)
    assert len(window.rows(np.array([10, 2_500]))) == 2
    assert read == [0, 5]


def test_the_last_days_are_held_out(window):
    learnt, held = window.before_last(1)
    assert [day.folder.name for day in held.days] == ["2020-01-03"]
    assert len(learnt) + len(held) == len(window)
    for days in (0, 3, 9):
        with pytest.raises(BadData, match="cannot be held out"):
            window.before_last(days)
