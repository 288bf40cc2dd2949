"""How good the models of flights are: each day of a backfill, beside the base rate of its window.

`python -m tests.benchmarks.flights [PEERS] [--first 2013-09-01] [--days 45] [--step 1]
[--algorithms lightgbm,logistic]`. Runs the jobs themselves, day by day, as a backfill would:
features that see what was known, a model from the window before, and its evaluation on the day.
Prints means over the days with their standard errors, and the same over all rows at once. Which days
something was chosen on is told in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import datetime as dt
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from jobs import evaluate, features, ingest, train
from jobs.evaluate import compare
from jobs.outcome import Inputs, Parameters
from jobs.tables import read_table
from registry.usecase import load_usecase

USECASE = "flights"
SETTINGS = load_usecase(USECASE)
WORKERS = 2
T = TypeVar("T")
Floats = NDArray[np.float64]
Scored = Floats


@dataclass(frozen=True)
class Asked:
    """One evaluation: a day, a horizon and an algorithm."""

    date: dt.date
    horizon: str
    algorithm: str


def main() -> int:
    """Measure and print; judges nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peers", nargs="?", type=Path, help="not used: nobody else has this data")
    parser.add_argument("--first", type=dt.date.fromisoformat, default=dt.date(2013, 9, 1))
    parser.add_argument("--days", type=int, default=45)
    parser.add_argument("--step", type=int, default=1, help="days between two evaluations")
    parser.add_argument("--algorithms", default="", help="only these, separated by commas")
    words = parser.parse_args()
    dates = [words.first + dt.timedelta(days=n * words.step) for n in range(words.days)]
    folder = Path(tempfile.mkdtemp(prefix="penstock-flights-"))
    try:
        print(f"  {len(dates)} days from {dates[0]} to {dates[-1]}")
        only = [name for name in words.algorithms.split(",") if name]
        for line in _lines(folder, dates, only):
            print(f"  {line}", flush=True)
    finally:
        shutil.rmtree(folder)
    return 0


def _lines(folder: Path, dates: list[dt.date], only: list[str]) -> Iterator[str]:
    with ProcessPoolExecutor(WORKERS) as pool:
        list(pool.map(_ingested, *_with(folder, _sources(dates)), chunksize=4))
        for horizon in SETTINGS.horizon_names:
            algorithms = [
                name for name in SETTINGS.at(horizon).algorithms if name in only or not only
            ]
            days = sorted({day for date in dates for day in _window(date, horizon)} | set(dates))
            if algorithms:
                list(pool.map(_featured, *_with(folder, days), [horizon] * len(days), chunksize=4))
            for algorithm in algorithms:
                asked = [Asked(date, horizon, algorithm) for date in dates]
                found = list(pool.map(_evaluated, *_with(folder, asked)))
                yield from _summary(SETTINGS.model(horizon), algorithm, found)


def _summary(model: str, algorithm: str, found: list[Scored]) -> Iterator[str]:
    days = [compare(*scored) for scored in found]
    yield f"{model}, {algorithm}"
    yield f"  mean of the days  {_row(days)}"
    yield f"  all rows at once  {_row([compare(*np.hstack(found))])}"


def _row(measured: list[dict[str, float]]) -> str:
    parts = []
    for name, told in (("auc", "AUC"), ("log_loss", "log loss")):
        ours, base = (np.mean([day[f"{who}{name}"] for day in measured]) for who in ("", "base_"))
        gains = np.array([day[f"{name}_gain"] for day in measured])
        parts.append(f"{told} {ours:.4f} against {base:.4f}: {_gain(gains)}")
    return "; ".join(parts)


def _gain(gains: Floats) -> str:
    text = f"better by {gains.mean():+.4f}"
    if len(gains) < 2:
        return text
    error = gains.std(ddof=1) / len(gains) ** 0.5
    days = f"{(gains > 0).mean():.0%} of the days"
    return f"{text} ± {error:.4f} (t = {gains.mean() / error:.1f}), on {days}"


def _with(folder: Path, values: list[T]) -> tuple[list[Path], list[T]]:
    return [folder] * len(values), values


def _window(date: dt.date, horizon: str) -> list[dt.date]:
    return _before(date, SETTINGS.at(horizon).window_days)


def _before(date: dt.date, count: int) -> list[dt.date]:
    days = [date - dt.timedelta(days=back) for back in range(count, 0, -1)]
    return [day for day in days if day >= SETTINGS.first_date]


def _sources(dates: list[dt.date]) -> list[dt.date]:
    every = [SETTINGS.at(name) for name in SETTINGS.horizon_names]
    longest = max(settings.window_days + settings.lookback_days for settings in every)
    first = max(SETTINGS.first_date, dates[0] - dt.timedelta(days=longest))
    return [first + dt.timedelta(days=n) for n in range((dates[-1] - first).days + 1)]


def _about(date: dt.date, horizon: str = "") -> Parameters:
    given = {"seed": SETTINGS.seed, "threads": 1, "horizon": horizon}
    return {"usecase": USECASE, "date": date.isoformat(), **given}


def _made(folder: Path, name: str) -> Path:
    path = folder / name
    path.mkdir(parents=True)
    return path


def _ingested(folder: Path, date: dt.date) -> None:
    ingest.run({}, _about(date), _made(folder, f"source/{date}"))


def _featured(folder: Path, date: dt.date, horizon: str) -> None:
    earlier = _before(date, SETTINGS.at(horizon).lookback_days)
    days = [folder / f"source/{day}" for day in [*earlier, date]]
    features.run({"days": days}, _about(date, horizon), _made(folder, f"{horizon}-/{date}"))


def _evaluated(folder: Path, asked: Asked) -> Scored:
    """Labels, and the probabilities of model and base rate: an array (3, flights of the day)."""

    def of(date: dt.date) -> Path:
        return folder / f"{asked.horizon}-/{date}"

    window = [of(day) for day in _window(asked.date, asked.horizon)]
    work = Path(tempfile.mkdtemp(dir=folder))
    model, report = _made(work, "model"), _made(work, "report")
    hyperparameters = SETTINGS.at(asked.horizon).algorithms[asked.algorithm]
    about = {**_about(asked.date, asked.horizon), "algorithm": asked.algorithm}
    train.run({"features": window}, {**about, "model": hyperparameters}, model)
    inputs: Inputs = {"model": model, "features": [of(asked.date)], "window": window}
    evaluate.run(inputs, about, report)
    scored = read_table(report / "scored.parquet", ["label", "model", "base"])
    shutil.rmtree(work)
    return np.array([scored[name].to_numpy() for name in ("label", "model", "base")])


if __name__ == "__main__":
    raise SystemExit(main())
