"""What a run record says can be typed again: the page of a run offers it."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from penstock.commandline import parse
from pipelines.commands.search import _asked
from pipelines.commands.words import respelled


def asked_by(line: str) -> dict[str, Any]:
    """What a run record keeps of a command."""
    return _asked(parse(shlex.split(line)[1:]).args)


@pytest.mark.parametrize(
    "line",
    [
        "penstock search flights --date 2013-02-10 --set lightgbm.num_leaves=7..63 --seed 3",
        "penstock search flights --date 2013-02-10 --set 'lightgbm.x=a b,c' --random 4 --publish",
        "penstock search flights --date 2013-02-10 --horizon dayahead --set logistic.l2=log:0.1..9",
    ],
)
def test_a_search_can_be_asked_for_again(line: str) -> None:
    asked = asked_by(line)
    assert asked_by(respelled(asked)) == asked


def test_runs_and_backfills_can_be_asked_for_again() -> None:
    changes = {"lightgbm": {"num_leaves": 7}}
    asked = {"usecase": "flights", "date": "2013-02-10", "changes": changes}
    assert respelled(asked) == "penstock run flights --date 2013-02-10 --set lightgbm.num_leaves=7"
    asked = {"command": "backfill", "usecase": "flights", "date": "2013-02-01..2013-02-10"}
    assert respelled(asked) == "penstock backfill flights --from 2013-02-01 --to 2013-02-10"
