"""Who gets a card: races between starters, waiting, and holders that are killed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from registry.errors import ConfigError
from registry.gpus import Ledger, NoGpu, Placing, place
from tests.nvml import FakeCard, nvml_of
from tests.races import PATIENCE, processes, race_processes

#: Its free memory never falls, as for starters that come before the first has begun to train.
CARD = FakeCard("GPU-one")
ROUNDS = 1000


def placing(folder: Path, wait: float = 0.0, **more: Any) -> Placing:
    return Placing(Ledger(folder), f"test {os.getpid()}", wait, **more)


def race(number: int, barrier: Any, folder: str) -> list[bool]:
    """In each round two start at once; in every second one the loser has time to wait."""
    outcomes = []
    with nvml_of(CARD), patch("registry.gpus.placing.PAUSE", 0.004):
        for turn in range(ROUNDS):
            barrier.wait(PATIENCE)
            try:
                lease = place(placing(Path(folder), wait=PATIENCE if turn % 2 else 0.0))
            except NoGpu:
                outcomes.append(False)
            else:
                outcomes.append(True)
                with lease, alone(Path(folder)):
                    if turn % 2 == 0:
                        barrier.wait(PATIENCE)
                    continue
            if turn % 2 == 0:
                barrier.wait(PATIENCE)
    return outcomes


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else believes to have the card meanwhile."""
    mark = folder / "mine"
    os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    try:
        yield
    finally:
        mark.unlink()


def test_of_two_that_start_at_once_one_gets_the_card(tmp_path):
    first, second = race_processes(2, race, str(tmp_path))
    pairs = list(zip(first, second, strict=True))
    assert len(pairs) == ROUNDS
    assert all(sorted(pair) == [False, True] for pair in pairs[::2])  # no time to wait
    assert all(pair == (True, True) for pair in pairs[1::2])  # each has it in its turn
    assert set(pairs[::2]) == {(True, False), (False, True)}  # it is a race


def hold(folder: str, told: Any, child: bool) -> None:
    with nvml_of(CARD):
        place(placing(Path(folder)))
        if child:  # it lives on, and must not keep the card
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(20)"])
        told.send(os.getpid())
        time.sleep(PATIENCE)


@pytest.mark.parametrize("child", [False, True])
def test_a_killed_holder_frees_the_card(tmp_path, child):
    for _ in range(1 if child else 10):
        told, tell = processes().Pipe(duplex=False)
        holder = processes().Process(target=hold, args=(str(tmp_path), tell, child))
        holder.start()
        pid = told.recv()
        with nvml_of(CARD):
            with pytest.raises(NoGpu) as none:
                place(placing(tmp_path))
            assert f"GPU-one: held by test {pid}, process {pid}" in none.value.why
            holder.kill()
            holder.join(PATIENCE)
            place(placing(tmp_path)).close()


def test_who_waits_gets_what_is_given_back(tmp_path):
    with nvml_of(CARD):
        lease = place(placing(tmp_path))
        threading.Timer(0.3, lease.close).start()
        with place(placing(tmp_path, wait=PATIENCE)) as second:
            assert 0.2 < second.waited < PATIENCE


def test_patience_ends(tmp_path):
    with nvml_of(CARD), place(placing(tmp_path)):
        begun = time.monotonic()
        with pytest.raises(NoGpu, match="no GPU is free"):
            place(placing(tmp_path, wait=0.3))
        assert 0.3 <= time.monotonic() - begun < PATIENCE


def test_the_second_takes_the_other_card(tmp_path):
    cards = [FakeCard("GPU-full", 3000), FakeCard("GPU-empty", 8000)]
    with nvml_of(*cards), place(placing(tmp_path)) as first, place(placing(tmp_path)) as second:
        assert (first.card.uuid, second.card.uuid) == ("GPU-empty", "GPU-full")


def test_a_card_that_something_else_fills_is_left_alone(tmp_path):
    with nvml_of(FakeCard("GPU-one", 1000)), pytest.raises(NoGpu) as none:
        place(placing(tmp_path, least_free_mb=2048))
    assert "1000 of 8192 MiB are free, 2048 are asked for" in none.value.why


def test_memory_is_read_again_once_the_card_is_held(tmp_path):
    """The one before was about to begin when this one first looked."""
    with nvml_of(FakeCard("GPU-one")) as nvml:
        ledger = Ledger(tmp_path)
        take = ledger.take

        def slowly(uuid: str, what: str) -> int | None:
            nvml.cards[0].free_mb = 100
            return take(uuid, what)

        ledger.take = slowly  # type: ignore[method-assign]
        with pytest.raises(NoGpu, match="no GPU is free"):
            place(Placing(ledger, "test", 0.0, 2048))
        assert ledger.holder("GPU-one") is None


def test_the_ledger_is_for_all_users_of_the_machine(tmp_path):
    folder = tmp_path / "ledger"
    before = os.umask(0o077)
    try:
        with nvml_of(CARD), place(placing(folder)):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o666}


def test_a_ledger_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with nvml_of(CARD), pytest.raises(ConfigError) as error:
        place(placing(tmp_path / "file" / "ledger"))
    assert "PENSTOCK_GPU_LEDGER" in error.value.todo
