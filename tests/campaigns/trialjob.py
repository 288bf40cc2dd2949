"""The real entry point of jobs around trials of no weight: `python -m tests.campaigns.trialjob …`.

A model is its hyperparameters, and its evaluation a function of them. What is made of the
evaluations is the real job.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jobs.__main__ as entry
from jobs.outcome import Inputs, Outcome, Parameters
from registry.artifacts.attempt import Attempt
from registry.artifacts.store import Store
from tests.campaigns import smalljob
from tests.pipelines.small import a_usecase

ROWS = 40
MODEL = "model.json"


def train(inputs: Inputs, parameters: Parameters, out: Path) -> Outcome:
    """The hyperparameters."""
    del inputs
    (out / MODEL).write_text(json.dumps(parameters["model"], sort_keys=True))
    return Outcome()


def evaluate(inputs: Inputs, parameters: Parameters, out: Path) -> Outcome:
    """Rows that a model tells apart the better the closer its depth is to 5, and with rounds."""
    import numpy as np
    import pyarrow as pa

    from jobs import measures
    from jobs.tables import write_table
    from registry.models.bundle import encode_json

    model = json.loads((Path(str(inputs["model"])) / MODEL).read_text())
    skill = 2 / (1 + abs(model.get("depth", 1) - 5)) + math.log(model["num_iterations"]) / 10
    labels = np.arange(ROWS) % 3 == 0
    shift = np.sin(np.arange(ROWS)) + skill * np.where(labels, 1, -1)
    scores, truth = 1 / (1 + np.exp(-shift)), labels.astype(float)
    base = np.full(ROWS, truth.mean())
    ours, theirs = measures.measure(truth, scores), measures.measure(truth, base)
    gains = {"auc_gain": ours["auc"] - 0.5, "log_loss_gain": theirs["log_loss"] - ours["log_loss"]}
    metrics = ours | gains
    ids = [f"{parameters['date']}-{row}" for row in range(ROWS)]
    table = pa.table({"id": ids, "label": truth, "model": scores, "base": base})
    write_table(out / "scored.parquet", table)
    (out / "metrics.json").write_bytes(encode_json(metrics))
    return Outcome(metrics, rows=ROWS)


def search(inputs: Inputs, parameters: Parameters, out: Path) -> Outcome:
    """The real one, of a use case that is in no folder."""
    import jobs.search

    with patch("jobs.search.load_usecase", lambda name: a_usecase()):
        return jobs.search.run(inputs, parameters, out)


def _work(store: Store, attempt: Attempt, cache: Path, out: Path) -> Any:
    references = attempt.spec.references.items()
    inputs = {role: entry._fetched(store, value, cache) for role, value in references}
    steps = {"train": train, "evaluate": evaluate, "search": search}
    step = steps.get(attempt.spec.kind, smalljob.work)
    return step(inputs, entry._parameters(attempt), out)


if __name__ == "__main__":
    with patch.object(entry, "_work", _work):
        sys.exit(entry.main())
