"""The rungs of a search: who was evaluated on each, and how well."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jobs import measures
from jobs.measures import Floats
from jobs.outcome import Inputs, Parameters, folders
from jobs.tables import read_table
from registry.errors import BadData
from registry.halving import members_of_last, role, score, survivors


@dataclass(frozen=True)
class Measured:
    """One trial on one rung: the ids and losses of all rows of the days, and means over days."""

    ids: pa.ChunkedArray
    losses: Floats
    means: Mapping[str, float]
    score: float


@dataclass(frozen=True)
class Rung:
    """The trials of a rung by number, and the boosting rounds of each; none where all are whole."""

    trials: Mapping[int, Measured]
    rounds: Sequence[int] | None

    @property
    def numbers(self) -> list[int]:
        """Who competes."""
        return list(self.trials)


def read_rungs(inputs: Inputs, parameters: Parameters) -> list[Rung]:
    """The rungs of a search in their order; one where nothing was halved.

    Raises:
        BadData: the evaluations do not fit the trials, or are of other rows than each other.
    """
    halving = parameters.get("halving") or {}
    rounds: Sequence[Sequence[int] | None] = halving.get("rounds", [None])
    numbers = list(range(len(parameters["trials"])))
    found: list[Rung] = []
    for place, each in enumerate(rounds):
        if place + 1 == len(rounds):
            numbers = members_of_last(numbers)
        trials = _trials(folders(inputs, role(place)), numbers)
        found.append(Rung(trials, each))
        scores = [measured.score for measured in trials.values()]
        numbers = survivors(numbers, scores, halving.get("eta", 1))
    _check_rows(found)
    return found


def _trials(paths: Sequence[Path], numbers: Sequence[int]) -> dict[int, Measured]:
    days, rest = divmod(len(paths), len(numbers))
    if rest:
        raise BadData(f"{len(paths)} evaluations do not fit {len(numbers)} trials", "")
    parts = [paths[place * days : (place + 1) * days] for place in range(len(numbers))]
    return {number: _measured(part) for number, part in zip(numbers, parts, strict=True)}


def _measured(paths: Sequence[Path]) -> Measured:
    scored = [read_table(path / "scored.parquet") for path in paths]
    table = pa.concat_tables(scored)
    metrics = [json.loads((path / "metrics.json").read_bytes()) for path in paths]
    names = ("auc", "auc_gain", "log_loss_gain")
    return Measured(
        table["id"],
        measures.losses(table["label"].to_numpy(), table["model"].to_numpy()),
        {name: float(np.mean([each[name] for each in metrics])) for name in names},
        score((each["log_loss"], day.num_rows) for each, day in zip(metrics, scored, strict=True)),
    )


def _check_rows(rungs: Sequence[Rung]) -> None:
    every = [measured.ids for rung in rungs for measured in rung.trials.values()]
    if any(not ids.equals(every[0]) for ids in every):
        raise BadData("the trials were evaluated on other rows than each other", "")


def table_of(trials: Sequence[Mapping[str, Any]], rungs: Sequence[Rung]) -> pa.Table:
    """One row for each trial on each rung: hyperparameters as set, measures, the gap to trial 0.

    Where trials were halved, `rung` counts from 1, and the gap is absent on rungs without trial 0.
    """
    places = [(rung, number) for rung in rungs for number in rung.numbers]
    measured = [rung.trials[number] for rung, number in places]
    names = sorted({name for trial in trials for name in trial})
    columns: dict[str, Any] = {"trial": [number for _, number in places]}
    if len(rungs) > 1:
        columns |= _where(rungs)
    columns |= {name: _column([trials[n].get(name) for _, n in places]) for name in names}
    columns["log_loss"] = [float(each.losses.mean()) for each in measured]
    for name in ("auc", "auc_gain", "log_loss_gain"):
        columns[name] = [each.means[name] for each in measured]
    gaps = [_gap(rung, number) for rung, number in places]
    columns["against_own"] = pa.array([gap and gap.mean for gap in gaps], pa.float64())
    columns["spread"] = pa.array([gap and gap.spread for gap in gaps], pa.float64())
    return pa.table(columns)


def _where(rungs: Sequence[Rung]) -> dict[str, list[Any]]:
    """On which rung, after how many rounds, and whether the trial went on."""
    following = [set(rung.numbers) for rung in rungs[1:]] + [set()]
    rows = [
        (place, rung.rounds[number] if rung.rounds else None, number in later)
        for place, (rung, later) in enumerate(zip(rungs, following, strict=True), 1)
        for number in rung.numbers
    ]
    names = ("rung", "rounds", "went_on")
    return {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}


def _gap(rung: Rung, number: int) -> measures.Difference | None:
    own = rung.trials.get(0)
    return measures.difference(rung.trials[number].losses, own.losses) if own else None


def _column(values: list[Any]) -> pa.Array:
    """Numbers as they are; anything else as JSON. Null is "as set"."""
    try:
        return pa.array(values)
    except (pa.ArrowException, TypeError):
        return pa.array([None if value is None else json.dumps(value) for value in values])
