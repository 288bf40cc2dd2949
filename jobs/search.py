"""Search: the evaluations of all trials become a table, the best hyperparameters and a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jobs import measures, page
from jobs.best import BEST
from jobs.measures import Floats
from jobs.outcome import Inputs, Outcome, Parameters, folders
from jobs.plots import trials_plot
from jobs.tables import read_table, write_table
from registry.errors import BadData
from registry.models.bundle import encode_json
from registry.usecase import load_usecase

_SHOWN = 30


def run(inputs: Inputs, parameters: Parameters, out: Path) -> Outcome:
    """Write `trials.parquet`, `best.json` and `report.html`.

    Input `trials`: evaluations, all days of trial 0 first. Parameters: usecase, date, algorithm,
    trials (hyperparameters of each; trial 0 is the settings'). The best has the lowest log loss
    over the rows of all days.

    Raises:
        BadData: the evaluations do not fit the trials, or are of other rows.
    """
    paths, trials = folders(inputs, "trials"), parameters["trials"]
    days, rest = divmod(len(paths), len(trials))
    if rest:
        raise BadData(f"{len(paths)} evaluations do not fit {len(trials)} trials", "")
    rows = [_measured(paths[n * days : (n + 1) * days]) for n in range(len(trials))]
    table = _table(trials, rows)
    best = int(np.argmin(table["log_loss"].to_numpy()))
    write_table(out / "trials.parquet", table)
    (out / BEST).write_bytes(
        encode_json({"algorithm": parameters["algorithm"], "model": trials[best]})
    )
    _write_report(out / "report.html", parameters, table, best)
    losses = table["log_loss"].to_numpy()
    metrics = {"log_loss": losses[best], "own_log_loss": losses[0], "trials": float(len(trials))}
    return Outcome({name: float(value) for name, value in metrics.items()}, rows=len(trials))


def _measured(paths: Sequence[Path]) -> dict[str, Any]:
    """Losses of every row of the days, and means of what the evaluations measured."""
    scored = [read_table(path / "scored.parquet") for path in paths]
    table = pa.concat_tables(scored)
    labels, model = table["label"].to_numpy(), table["model"].to_numpy()
    metrics = [json.loads((path / "metrics.json").read_bytes()) for path in paths]
    return {
        "ids": table["id"],
        "losses": measures.losses(labels, model),
        "auc": float(np.mean([each["auc"] for each in metrics])),
        "auc_gain": float(np.mean([each["auc_gain"] for each in metrics])),
        "log_loss_gain": float(np.mean([each["log_loss_gain"] for each in metrics])),
    }


def _table(trials: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """One row a trial: hyperparameters as they are, then measures, then the gap to trial 0."""
    if any(not row["ids"].equals(rows[0]["ids"]) for row in rows):
        raise BadData("the trials were evaluated on other rows than each other", "")
    own: Floats = rows[0]["losses"]
    gaps = [measures.difference(row["losses"], own) for row in rows]
    names = sorted({name for trial in trials for name in trial})
    columns: dict[str, Any] = {"trial": list(range(len(trials)))}
    columns |= {name: _column([trial.get(name) for trial in trials]) for name in names}
    columns["log_loss"] = [float(row["losses"].mean()) for row in rows]
    for name in ("auc", "auc_gain", "log_loss_gain"):
        columns[name] = [row[name] for row in rows]
    columns |= {"against_own": [gap.mean for gap in gaps], "spread": [gap.spread for gap in gaps]}
    return pa.table(columns)


def _column(values: list[Any]) -> pa.Array:
    """Numbers as they are; anything else as JSON. Null is "as set"."""
    try:
        return pa.array(values)
    except (pa.ArrowException, TypeError):
        return pa.array([None if value is None else json.dumps(value) for value in values])


def _write_report(path: Path, parameters: Parameters, table: pa.Table, best: int) -> None:
    model = load_usecase(parameters["usecase"]).model(parameters.get("horizon", ""))
    rows = table.to_pylist()
    values = table["log_loss"].to_numpy()
    found = ", ".join(f"{k} = {v}" for k, v in parameters["trials"][best].items())
    gap, spread = rows[best]["against_own"], rows[best]["spread"]
    unsure = "no more than chance would give."
    sure = f"an interval without zero, though among {len(rows) - 1} one may be so by chance."
    verdict = (
        f"Best: <b>{found}</b>, {-gap:.4f} ± {spread:.4f} lower in log loss than what is set: "
        f"{sure if -gap > spread else unsure}"
        if best
        else "Nothing did better than what is set."
    )
    shown = sorted(range(len(rows)), key=lambda trial: (values[trial], trial))[:_SHOWN]
    figure = trials_plot(values, best, 0, "Log loss")
    page.write_page(
        path,
        f"{model}, {parameters['date']}: {parameters['algorithm']}, {len(rows) - 1} trials",
        [
            page.soft("Each was trained and evaluated as of days before the date."),
            f'<p class="verdict">{verdict}</p>',
            page.plots(
                [(figure, "Log loss over the rows of all days; lower is better.")], wide=True
            ),
            page.section("The best trials", _ranked([rows[trial] for trial in shown])),
        ],
    )


def _ranked(rows: Sequence[Mapping[str, Any]]) -> str:
    measured = ("log_loss", "auc", "auc_gain", "log_loss_gain", "against_own", "spread")
    names = [name for name in rows[0] if name not in measured and name != "trial"]
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
