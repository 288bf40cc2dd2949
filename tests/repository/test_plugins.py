from __future__ import annotations

import os
import threading

import pytest

from tests.plugins import leaks
from tests.plugins.campaign import Campaign, repeat_line
from tests.plugins.isolation import foreign_variables


def test_no_foreign_settings_are_seen():
    assert foreign_variables() == []


def test_a_weird_path_is_writable(weird_tmp_path):
    file = weird_tmp_path / "x"
    file.write_text("x")
    assert file.read_text() == "x"


def test_rounds_repeat_under_a_seed():
    first = [turn.random.random() for turn in Campaign(7).rounds(short=5)]
    again = [turn.random.random() for turn in Campaign(7).rounds(short=5)]
    other = [turn.random.random() for turn in Campaign(8).rounds(short=5)]
    assert first == again
    assert not set(first) & set(other)


def test_one_round_can_be_asked_for():
    fifth = list(Campaign(7).rounds(short=5))[4].random.random()
    (only,) = Campaign(7, only=4).rounds(short=5)
    assert (only.number, only.random.random()) == (4, fifth)


def test_a_budget_that_is_spent_still_gives_the_short_form():
    assert len(list(Campaign(7, minutes=0).rounds(short=3))) == 3


def test_the_repeat_line_names_seed_and_round():
    made = Campaign(7)
    list(made.rounds(short=2))
    assert repeat_line("tests/x.py::test_y[a b]", made).endswith(
        "'tests/x.py::test_y[a b]' -n 0 --timeout=0 --seed=7 --round=1"
    )


@pytest.mark.usefixtures("no_fd_leaks", "no_thread_leaks", "no_shm_leaks")
def test_what_is_closed_is_no_leak(tmp_path):
    with (tmp_path / "x").open("w"):
        pass
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()


def test_what_stays_open_is_a_leak():
    check = leaks.unchanged("descriptors", leaks.open_descriptors, patience=0)
    next(check)
    descriptor = os.open("/dev/null", os.O_RDONLY)
    try:
        with pytest.raises(pytest.fail.Exception, match=r"descriptors left behind.*/dev/null"):
            next(check)
    finally:
        os.close(descriptor)
