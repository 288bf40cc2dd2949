"""How good the models of flights are: each day of a backfill, beside the base rate of its window.

`python -m tests.benchmarks.flights [PEERS] [--first 2013-05-01] [--days 40] [--step 1]`. Runs the
jobs themselves, day by day, as a backfill would: features that see what was known, a model from the
window before, and its evaluation on the day. Prints means over the days, with 95 % intervals.
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

from jobs import evaluate, features, ingest, train
from jobs.outcome import Inputs, Parameters
from registry.usecase import load_usecase

USECASE = "flights"
SETTINGS = load_usecase(USECASE)
WORKERS = 2
T = TypeVar("T")


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
    parser.add_argument("--first", type=dt.date.fromisoformat, default=dt.date(2013, 5, 1))
    parser.add_argument("--days", type=int, default=40)
    parser.add_argument("--step", type=int, default=1, help="days between two evaluations")
    words = parser.parse_args()
    dates = [words.first + dt.timedelta(days=n * words.step) for n in range(words.days)]
    folder = Path(tempfile.mkdtemp(prefix="penstock-flights-"))
    try:
        print(f"  {len(dates)} days from {dates[0]} to {dates[-1]}")
        for line in _lines(folder, dates):
            print(f"  {line}", flush=True)
    finally:
        shutil.rmtree(folder)
    return 0


def _lines(folder: Path, dates: list[dt.date]) -> Iterator[str]:
    with ProcessPoolExecutor(WORKERS) as pool:
        list(pool.map(_ingested, *_with(folder, _sources(dates)), chunksize=4))
        for horizon in SETTINGS.horizon_names:
            days = sorted({day for date in dates for day in _window(date, horizon)} | set(dates))
            list(pool.map(_featured, *_with(folder, days), [horizon] * len(days), chunksize=4))
            for algorithm in SETTINGS.at(horizon).algorithms:
                asked = [Asked(date, horizon, algorithm) for date in dates]
                found = list(pool.map(_evaluated, *_with(folder, asked)))
                yield _summary(SETTINGS.model(horizon), algorithm, found)


def _summary(model: str, algorithm: str, found: list[dict[str, float]]) -> str:
    auc, base_auc, loss, base_loss = (
        np.array([metrics[name] for metrics in found])
        for name in ("auc", "base_auc", "log_loss", "base_log_loss")
    )
    return (
        f"{model}, {algorithm}: AUC {auc.mean():.4f} against {base_auc.mean():.4f} "
        f"({_gain(auc - base_auc)}); log loss {loss.mean():.4f} against {base_loss.mean():.4f} "
        f"({_gain(base_loss - loss)})"
    )


def _gain(gains: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    spread = 1.96 * gains.std(ddof=1) / len(gains) ** 0.5
    return f"better by {gains.mean():+.4f} ± {spread:.4f}, on {(gains > 0).mean():.0%} of the days"


def _with(folder: Path, values: list[T]) -> tuple[list[Path], list[T]]:
    return [folder] * len(values), values


def _window(date: dt.date, horizon: str) -> list[dt.date]:
    return _before(date, SETTINGS.at(horizon).window_days)


def _before(date: dt.date, count: int) -> list[dt.date]:
    days = [date - dt.timedelta(days=back) for back in range(count, 0, -1)]
    return [day for day in days if day >= SETTINGS.first_date]


def _sources(dates: list[dt.date]) -> list[dt.date]:
    longest = max(SETTINGS.at(name).window_days for name in SETTINGS.horizon_names)
    first = max(SETTINGS.first_date, dates[0] - dt.timedelta(days=longest + SETTINGS.lookback_days))
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
    days = [folder / f"source/{day}" for day in [*_before(date, SETTINGS.lookback_days), date]]
    features.run({"days": days}, _about(date, horizon), _made(folder, f"{horizon}-/{date}"))


def _evaluated(folder: Path, asked: Asked) -> dict[str, float]:
    def of(date: dt.date) -> Path:
        return folder / f"{asked.horizon}-/{date}"

    window = [of(day) for day in _window(asked.date, asked.horizon)]
    work = Path(tempfile.mkdtemp(dir=folder))
    model, report = _made(work, "model"), _made(work, "report")
    hyperparameters = SETTINGS.at(asked.horizon).algorithms[asked.algorithm]
    about = {**_about(asked.date, asked.horizon), "algorithm": asked.algorithm}
    train.run({"features": window}, {**about, "model": hyperparameters}, model)
    inputs: Inputs = {"model": model, "features": [of(asked.date)], "window": window}
    metrics = evaluate.run(inputs, about, report).metrics
    shutil.rmtree(work)
    return metrics


if __name__ == "__main__":
    raise SystemExit(main())
