"""The one thread that waits for many: errors reach those who wait, and idle means asleep."""

from __future__ import annotations

import threading

import pytest

from pipelines.runners.states import Ended
from pipelines.runners.watch import Watcher
from registry.errors import Corrupt
from tests.contracts.rigs import PATIENCE, eventually, new_attempt

DONE = Ended(0, None, None)


def test_who_waits_is_told_once_there_is_an_end():
    ends: dict[str, Ended] = {}
    watcher = Watcher(lambda attempt: ends.get(attempt.write_id), lambda: False)
    attempt = new_attempt()
    assert watcher.wait(attempt, 0.05) is None
    threading.Timer(0.05, ends.__setitem__, (attempt.write_id, DONE)).start()
    assert watcher.wait(attempt, PATIENCE) == DONE
    watcher.close()


@pytest.mark.usefixtures("no_thread_leaks")
def test_an_error_of_a_look_goes_to_who_waits_and_to_nobody_else():
    bad, good = new_attempt(), new_attempt()
    looks = []

    def look(attempt):
        looks.append(attempt)
        if len(looks) < 6:
            return None
        if attempt is bad:
            raise Corrupt("its record is damaged")
        return DONE

    watcher = Watcher(look, lambda: False)
    found = []
    thread = threading.Thread(target=lambda: found.append(watcher.wait(good, PATIENCE)))
    thread.start()
    with pytest.raises(Corrupt):
        watcher.wait(bad, PATIENCE)
    thread.join()
    assert found == [DONE]
    watcher.close()


def test_an_error_of_housekeeping_reaches_who_waits():
    def tick():
        raise ZeroDivisionError

    watcher = Watcher(lambda _: None, tick)
    with pytest.raises(ZeroDivisionError):
        watcher.wait(new_attempt(), PATIENCE)
    watcher.close()


def test_an_idle_watcher_sleeps_until_something_happens():
    rounds = []

    def tick() -> bool:
        rounds.append(1)
        return False

    watcher = Watcher(lambda _: None, tick)
    watcher.stir()
    eventually(lambda: rounds, "a first round")
    assert watcher._interval() is None
    watcher.close()


def test_looks_grow_rare_while_nothing_happens():
    watcher = Watcher(lambda _: None, lambda: True)
    watcher._more = True
    watcher.stir()
    assert watcher._interval() is not None
    watcher._stirred_at -= 3600
    assert watcher._interval() == 0.5
    watcher.close()
