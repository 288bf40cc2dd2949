"""`python -m tests.benchmarks.training`: from Parquet to a model file, memory beside pandas.

A million rows × 28 float32, LightGBM of 100 trees × 31 leaves, CatBoost of 100 trees of depth 6, two
threads. Every row of the table is a process of its own: its peak memory (VmHWM: imports, reading,
binning, training, and for penstock the whole job with its golden rows and measures), seconds of
its work, and the AUC of its model on 200,000 rows that none has seen.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FEATURES = 28
NAMES = [f"f{index}" for index in range(FEATURES)]
HELD = 200_000
SEED, THREADS = 3, 2
#: What penstock trains with, so that peers' trees can be compared with its own.
SETTINGS = {
    "objective": "binary", "seed": SEED, "num_threads": THREADS, "deterministic": True,
    "force_row_wise": True, "verbosity": -1,
}  # fmt: skip
MODEL: dict[str, dict[str, Any]] = {
    "lightgbm": {"num_iterations": 100, "num_leaves": 31},
    "catboost": {"iterations": 100, "depth": 6},
}


def data(folder: Path, rows: int, seed: int) -> None:
    """A day of features and labels, as the job `features` writes them, but of float32."""
    from jobs.tables import write_table

    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {name: rng.standard_normal(rows, dtype=np.float32) for name in NAMES}
    for name in NAMES[7:14]:
        columns[name] = np.abs(columns[name]) ** np.float32(1.5)
    for name in NAMES[14:18]:
        columns[name] = np.round(columns[name] * 2) / 2
    weights = np.random.default_rng(0).normal(size=FEATURES)
    score = sum(weight * columns[name] for name, weight in zip(NAMES, weights, strict=True))
    score = score + columns["f0"] * columns["f1"] * 2 + rng.normal(size=rows) * 4
    when = pa.array(np.zeros(rows, dtype="datetime64[us]"), pa.timestamp("us", "UTC"))
    ids = pa.array([f"row-{n:09d}" for n in range(rows)])
    folder.mkdir(parents=True)
    write_table(folder / "features.parquet", pa.table({"id": ids, "as_of": when, **columns}))
    label = pa.array(score > np.median(score))
    write_table(folder / "labels.parquet", pa.table({"id": ids, "label": label, "known_at": when}))


# --- what runs in a process of its own -----------------------------------------------------------


def penstock(algorithm: str, source: Path, target: Path) -> None:
    """The job `train`."""
    from jobs.train import learn
    from registry.features.view import Column, FeatureView

    view = FeatureView("bench", 1, "id", tuple(map(Column, NAMES)))
    parameters = {
        "usecase": "bench", "date": dt.date(2000, 1, 1).isoformat(), "algorithm": algorithm,
        "model": MODEL[algorithm], "seed": SEED, "threads": THREADS,
    }  # fmt: skip
    learn(view, {"features": [source]}, parameters, target)


def _labels(source: Path) -> Any:
    return pq.read_table(source / "labels.parquet", columns=["label"])["label"].to_numpy()


def _lightgbm(rows: Any, target: Path) -> None:
    import lightgbm

    lightgbm.train(SETTINGS | MODEL["lightgbm"], rows).save_model(target / "model.txt")


def pandas(algorithm: str, source: Path, target: Path) -> None:
    """The obvious script."""
    import pandas as pd

    frame = pd.read_parquet(source / "features.parquet", columns=NAMES)
    if algorithm == "catboost":
        import catboost

        made = catboost.CatBoost(
            MODEL["catboost"] | {"loss_function": "Logloss", "random_seed": SEED, "verbose": False}
            | {"thread_count": THREADS, "allow_writing_files": False}
        ).fit(catboost.Pool(frame, _labels(source)))  # fmt: skip
        made.save_model(str(target / "model.cbm"))
        return
    import lightgbm

    _lightgbm(lightgbm.Dataset(frame, _labels(source)), target)


def arrow(algorithm: str, source: Path, target: Path) -> None:
    """LightGBM's own reading of Arrow."""
    import lightgbm

    table = pq.read_table(source / "features.parquet", columns=NAMES)
    _lightgbm(lightgbm.Dataset(table, _labels(source)), target)


def sequence(algorithm: str, source: Path, target: Path) -> None:
    """LightGBM's `Sequence`, over row groups, one of which is kept decoded."""
    import lightgbm

    class Groups(lightgbm.Sequence):
        batch_size = 32_768

        def __init__(self, file: pq.ParquetFile, group: int) -> None:
            self.file, self.group = file, group
            self.rows = file.metadata.row_group(group).num_rows

        def __len__(self) -> int:
            return int(self.rows)

        def __getitem__(self, index: Any) -> Any:
            if _decoded.get("group") != self.group:
                table = self.file.read_row_group(self.group, NAMES)
                matrix = np.column_stack([table[name].to_numpy() for name in NAMES])
                _decoded.update(group=self.group, matrix=matrix.astype(np.float64))
            return _decoded["matrix"][index]

    _decoded: dict[str, Any] = {}
    file = pq.ParquetFile(source / "features.parquet")
    groups = [Groups(file, group) for group in range(file.num_row_groups)]
    _lightgbm(lightgbm.Dataset(groups, _labels(source), feature_name=NAMES), target)


KINDS = {"penstock": penstock, "pandas": pandas, "arrow": arrow, "sequence": sequence}


def child(kind: str, algorithm: str, source: str, target: str) -> None:
    """Train in this process, and say what it took."""
    begun = time.perf_counter()
    KINDS[kind](algorithm, Path(source), Path(target))
    spent = time.perf_counter() - begun
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0])
    used = os.times()
    print(json.dumps({"mb": peak / 1024, "s": spent, "cpu": used.user + used.system}))


# --- the table -----------------------------------------------------------------------------------


def measured(folder: Path, kind: str, algorithm: str, run: str) -> dict[str, Any]:
    """Train in a process of its own; the model file's text is put with what it took."""
    target = folder / run
    target.mkdir()
    words = ["--child", kind, algorithm, str(folder / "data"), str(target)]
    command = [sys.executable, "-m", "tests.benchmarks.training", *words]
    env = {**os.environ, "PENSTOCK_VAR": str(folder / "var")}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    found["model"] = target / ("model.cbm" if algorithm == "catboost" else "model.txt")
    return found


def auc(algorithm: str, model: Path, held: Path) -> float:
    """Of the model on rows that it has not seen."""
    from jobs.measures import measure

    table = pq.read_table(held / "features.parquet", columns=NAMES)
    matrix = np.column_stack([table[name].to_numpy() for name in NAMES])
    if algorithm == "catboost":
        import catboost

        made = catboost.CatBoost().load_model(str(model))
        predicted = made.predict(matrix, prediction_type="Probability")[:, 1]
    else:
        import lightgbm

        predicted = lightgbm.Booster(model_file=model).predict(matrix)
    return measure(_labels(held).astype(np.float64), np.asarray(predicted))["auc"]


def trees(model: Path) -> str:
    """A digest of the trees of a LightGBM file, without its names and settings."""
    text = model.read_text()
    return hashlib.sha256(
        text[text.index("Tree=0") : text.index("end of trees")].encode()
    ).hexdigest()


ROWS = [
    ("pandas and lightgbm.Dataset", "pandas", "lightgbm"),
    ("Arrow table and lightgbm.Dataset", "arrow", "lightgbm"),
    ("lightgbm.Sequence over row groups", "sequence", "lightgbm"),
    ("penstock, LightGBM", "penstock", "lightgbm"),
    ("penstock, LightGBM, bins from the cache", "penstock", "lightgbm"),
    ("pandas and catboost.Pool", "pandas", "catboost"),
    ("penstock, CatBoost", "penstock", "catboost"),
]


def compare(folder: Path, rows: int) -> None:
    """Print the table, and whether models are the same."""
    data(folder / "data", rows, 7)
    data(folder / "held", HELD, 8)
    peers: dict[str, dict[str, Any]] = {}
    made = []
    for number, (name, kind, algorithm) in enumerate(ROWS):
        found = measured(folder, kind, algorithm, str(number))
        peer = peers.setdefault(algorithm, found)
        made.append(found)
        quality = auc(algorithm, found["model"], folder / "held")
        print(
            f"{name:40} {found['mb']:5.0f} MB  {found['mb'] / peer['mb']:4.2f} of pandas"
            f"  {found['s']:5.1f} s  {found['cpu']:5.1f} CPU s  AUC {quality:.5f}",
            flush=True,
        )
    ours = [found["model"].read_bytes() for found in made[3:5]]
    print(f"same bytes from run to run, and from the cache: {ours[0] == ours[1]}")
    same = trees(made[0]["model"]) == trees(made[3]["model"])
    print(f"the same trees as pandas and lightgbm.Dataset: {same}")


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peers", nargs="?", type=Path, help="not used: no peer harness trains")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.child:
        child(*words.child)
        return 0
    folder = Path(tempfile.mkdtemp(prefix="penstock-training-"))
    try:
        compare(folder, words.rows)
    finally:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
