"""Search: the evaluations of all trials become a table, the best hyperparameters and a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jobs import page
from jobs.best import BEST
from jobs.outcome import Inputs, Outcome, Parameters
from jobs.plots import Climb, rungs_plot, trials_plot
from jobs.rungs import Rung, read_rungs, table_of
from jobs.tables import write_table
from registry.models.bundle import encode_json
from registry.usecase import load_usecase

_SHOWN = 30


def run(inputs: Inputs, parameters: Parameters, out: Path) -> Outcome:
    """Write `trials.parquet`, `best.json` and `report.html`.

    Input `trials`: evaluations, all days of trial 0 first; by halving these are of the first rung,
    and `rung1`, … hold those of who went on, in the order of trials. Parameters: usecase, date,
    algorithm, trials (hyperparameters of each; trial 0 is the settings'), and by halving `halving`
    (eta, and rounds by rung and trial). The best has the lowest log loss over the rows of all days
    on the last rung.

    Raises:
        BadData: the evaluations do not fit the trials, or are of other rows.
    """
    trials, rungs = parameters["trials"], read_rungs(inputs, parameters)
    table = table_of(trials, rungs)
    last = table.slice(table.num_rows - len(rungs[-1].trials))
    losses = last["log_loss"].to_numpy()
    best = int(np.argmin(losses))
    number = rungs[-1].numbers[best]
    write_table(out / "trials.parquet", table)
    (out / BEST).write_bytes(
        encode_json({"algorithm": parameters["algorithm"], "model": trials[number]})
    )
    _write_report(out / "report.html", parameters, last, best, _figure(rungs, losses, best))
    metrics = {"log_loss": losses[best], "own_log_loss": losses[0], "trials": float(len(trials))}
    if len(rungs) > 1:
        metrics |= {"rungs": len(rungs), "evaluated": table.num_rows}
    return Outcome({name: float(value) for name, value in metrics.items()}, rows=table.num_rows)


def _figure(rungs: Sequence[Rung], losses: Any, best: int) -> tuple[str, str]:
    """The plot, and what it shows."""
    if len(rungs) == 1:
        figure = trials_plot(losses, best, 0, "Log loss")
        return figure, "Log loss over the rows of all days; lower is better."
    climbs = [
        Climb(
            number, [(place, float(rung.trials[number].losses.mean()))
                     for place, rung in enumerate(rungs, 1) if number in rung.trials]
        )
        for number in rungs[0].numbers
    ]  # fmt: skip
    figure = rungs_plot(climbs, rungs[-1].numbers[best], 0, "Log loss")
    return figure, "Log loss over the rows of all days, rung by rung; lower is better."


def _write_report(
    path: Path, parameters: Parameters, table: pa.Table, best: int, figure: tuple[str, str]
) -> None:
    """`table` holds the trials of the last rung, of which `best` is a row."""
    model = load_usecase(parameters["usecase"]).model(parameters.get("horizon", ""))
    rows = table.to_pylist()
    values, count = table["log_loss"].to_numpy(), len(parameters["trials"]) - 1
    found = ", ".join(f"{k} = {v}" for k, v in parameters["trials"][rows[best]["trial"]].items())
    gap, spread = rows[best]["against_own"], rows[best]["spread"]
    unsure = "no more than chance would give."
    sure = f"an interval without zero, though among {count} one may be so by chance."
    verdict = (
        f"Best: <b>{found}</b>, {-gap:.4f} ± {spread:.4f} lower in log loss than what is set: "
        f"{sure if -gap > spread else unsure}"
        if best
        else "Nothing did better than what is set."
    )
    shown = sorted(range(len(rows)), key=lambda trial: (values[trial], trial))[:_SHOWN]
    page.write_page(
        path,
        f"{model}, {parameters['date']}: {parameters['algorithm']}, {count} trials",
        [
            page.soft(_about(parameters)),
            f'<p class="verdict">{verdict}</p>',
            page.plots([figure], wide=True),
            page.section("The best trials", _ranked([rows[trial] for trial in shown])),
        ],
    )


def _about(parameters: Parameters) -> str:
    about = "Each was trained and evaluated as of days before the date."
    halving = parameters.get("halving")
    if not halving:
        return about
    rungs = ", ".join(_span(rounds) for rounds in halving["rounds"])
    return (
        f"{about} Boosting rounds by rung: {rungs}; of each the best 1/{halving['eta']} went on. "
        "Below are those of the last, which are whole trainings."
    )


def _span(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"


def _ranked(rows: Sequence[Mapping[str, Any]]) -> str:
    measured = ("log_loss", "auc", "auc_gain", "log_loss_gain", "against_own", "spread")
    names = [name for name in rows[0] if name not in (*measured, "trial", "rung", "went_on")]
    head = ["Trial", *names, "Log loss", "AUC", "Gain over base rate", "Against what is set"]
    cells = [
        [
            "as set" if not row["trial"] else str(row["trial"]),
            *("–" if row[name] is None else f"{row[name]}" for name in names),
            f"{row['log_loss']:.4f}", f"{row['auc']:.4f}", f"{row['log_loss_gain']:+.4f}",
            f"{row['against_own']:+.4f} ± {row['spread']:.4f}",
        ]
        for row in rows
    ]  # fmt: skip
    return page.table(head, cells, best=0)
