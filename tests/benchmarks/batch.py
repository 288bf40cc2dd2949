"""`python -m tests.benchmarks.batch`: Parquet to Parquet, beside pandas and `Booster.predict`.

LightGBM of 500 trees × 63 leaves × 28 float32 features, and CatBoost of 500 trees of depth 6. Every
row of the table is a process of its own: seconds of its work (reading to writing, models loaded),
seconds of CPU of the whole process, its peak memory. With `--rows 10000000` also what a large set
costs; with PEERS the harness kept in `PEERS/batch`, whose peers install themselves.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from registry.models.bundle import Flavor

FEATURES = 28
NAMES = [f"f{index}" for index in range(FEATURES)]
FILE_ROWS, GROUP = 500_000, 131_072
#: Rows that pandas and Booster.predict get: they would take minutes for more.
PEER_ROWS = 500_000
SCORED = "probability"


def data(folder: Path, rows: int) -> list[Path]:
    """Files of half a million rows: an id and 28 float32, some skewed, some of few values."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, first in enumerate(range(0, rows, FILE_ROWS)):
        count = min(FILE_ROWS, rows - first)
        rng = np.random.default_rng([7, number])
        columns: dict[str, Any] = {
            name: rng.standard_normal(count, dtype=np.float32) for name in NAMES
        }
        for name in NAMES[7:14]:
            columns[name] = np.abs(columns[name]) ** np.float32(1.5)
        for name in NAMES[14:18]:
            columns[name] = np.round(columns[name] * 2) / 2
        table = pa.table({"id": np.arange(first, first + count), **columns})
        paths.append(folder / f"part-{number:03d}.parquet")
        pq.write_table(table, paths[-1], compression="zstd", row_group_size=GROUP)
    return paths


def bundles(folder: Path) -> dict[Flavor, Path]:
    """A bundle of each flavor."""
    import catboost

    from registry.models.building import build_bundle
    from registry.models.signature import Input, Output, Signature
    from tests.benchmarks.forest import train

    signature = Signature(tuple(map(Input, NAMES)), (Output(SCORED),))
    rows = [{name: float(row - n % 7) for n, name in enumerate(NAMES)} for row in range(4)]
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(20_000, FEATURES)).astype(np.float32)
    labels = matrix @ rng.normal(size=FEATURES) + rng.normal(size=len(matrix)) > 0
    trained = catboost.CatBoostClassifier(
        iterations=500, depth=6, learning_rate=0.05, random_seed=3, thread_count=2, verbose=False,
        allow_writing_files=False,
    ).fit(catboost.Pool(np.asfortranarray(matrix), labels, feature_names=NAMES))  # fmt: skip
    trained.save_model(str(folder / "model.cbm"))
    found: dict[Flavor, Path] = {}
    models: dict[Flavor, Path] = {"lightgbm": train(folder), "catboost": folder / "model.cbm"}
    for flavor, model in models.items():
        found[flavor] = folder / flavor
        found[flavor].mkdir()
        link: Any = "logistic" if flavor == "catboost" else None
        build_bundle(
            found[flavor], flavor=flavor, model=model.read_bytes(), link=link, signature=signature, rows=rows,
        )  # fmt: skip
    return found


# --- what runs in a process of its own -----------------------------------------------------------


def ours(bundle: str, source: str, target: str, *more: str) -> Callable[[], int]:
    """penstock, as `penstock score` does it."""
    from jobs.scoring.engine import Columns, processors
    from jobs.scoring.score import Asked, quarantine_beside, score
    from jobs.scoring.sources import find_sources
    from registry.settings import Settings

    out = Path(target)
    sources = find_sources([source], Settings.load())
    asked = Asked(
        Path(bundle), sources, out, quarantine_beside(out), Columns(["id"]), threads=processors(),
        shards=int(more[0]) if more and more[0] != "carry" else None, carry_all="carry" in more,
    )  # fmt: skip
    return lambda: score(asked).rows


def pandas(bundle: str, source: str, target: str, *more: str) -> Callable[[], int]:
    """The obvious script: read a frame, predict, write a frame."""
    import lightgbm
    import pandas as pd

    booster = lightgbm.Booster(model_file=str(Path(bundle) / "model.txt"))

    def work() -> int:
        frame = pd.read_parquet(more[0] if more else source)
        frame[SCORED] = booster.predict(frame[NAMES], num_threads=2)
        frame[["id", SCORED]].to_parquet(target, compression="zstd")
        return len(frame)

    return work


def memory(bundle: str, source: str, target: str, *more: str) -> Callable[[], int]:
    """CatBoost on a matrix in memory, on two threads: what the model costs without any files."""
    import catboost

    model = catboost.CatBoost().load_model(str(Path(bundle) / "model.cbm"))
    table = pq.read_table(Path(source) / "part-000.parquet", columns=NAMES)
    matrix = np.column_stack([table[name].to_numpy() for name in NAMES])
    blocks = [matrix[start : start + 65_536] for start in range(0, len(matrix), 65_536)]

    def work() -> int:
        for block in blocks:
            model.predict(
                catboost.Pool(block, thread_count=2), prediction_type="Probability", thread_count=2
            )
        return len(matrix)

    return work


KINDS = {"ours": ours, "pandas": pandas, "memory": memory}


def child(words: list[str]) -> None:
    """Measure one kind of work in this process."""
    work = KINDS[words[0]](*words[1:])
    begun = time.perf_counter()
    rows = work()
    spent = time.perf_counter() - begun
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime
    print(json.dumps({"rows": rows, "s": spent, "cpu": cpu, "mb": used.ru_maxrss / 1024}))


def measured(*words: object) -> dict[str, float]:
    """The work named, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.batch", "--child", *map(str, words)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def tell(name: str, found: dict[str, float]) -> None:
    """A line of the table."""
    rows = found["rows"]
    print(
        f"{name:44} {rows / found['s']:10,.0f} rows/s  {found['cpu'] / rows * 1e6:6.2f} CPU s a million"
        f"  {found['mb']:5.0f} MB",
        flush=True,
    )


def main() -> int:
    """Print the table and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peers", nargs="?", type=Path, help="folder of peer harnesses")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.child:
        child(words.child)
        return 0
    folder = Path(tempfile.mkdtemp(prefix="penstock-batch-"))
    try:
        compare(folder, words.rows)
        if words.peers:
            peers(words.peers, folder)
    finally:
        shutil.rmtree(folder)
    return 0


def compare(folder: Path, rows: int) -> None:
    """Both models, and the obvious script beside."""
    data(folder / "data", rows)
    made = bundles(folder)
    few = folder / "data" / "part-000.parquet"
    source, out = folder / "data", folder / "out.parquet"

    def score(name: str, flavor: Flavor, *more: object) -> dict[str, float]:
        found = measured("ours", made[flavor], source, out, *more)
        tell(name, found)
        size = features_size(out)
        out.unlink()
        return {**found, "bytes": size / found["rows"]}

    peer = measured("pandas", made["lightgbm"], source, out, few)
    tell(f"pandas and Booster.predict, {PEER_ROWS:,} rows", peer)
    out.unlink()
    ratio = score(f"penstock, LightGBM, {rows:,} rows", "lightgbm")
    print(f"  × pandas: {rate(ratio) / rate(peer):.1f}")
    memory_rate = measured("memory", made["catboost"], source, out)
    tell("CatBoost in memory, two threads", memory_rate)
    cat = score(f"penstock, CatBoost, {rows:,} rows, one shard", "catboost", 1)
    print(f"  of the rate in memory: {rate(cat) / rate(memory_rate):.0%}")
    carried = score("penstock, CatBoost, every column carried", "catboost", "carry")
    print(
        f"  bytes a row of {FEATURES} float32: {carried['bytes']:.1f}; as pyarrow writes: {plain(few):.1f}"
    )


def features_size(path: Path) -> int:
    """Bytes that the features take in a file."""
    metadata = pq.read_metadata(path)
    columns = [
        metadata.row_group(group).column(number)
        for group in range(metadata.num_row_groups)
        for number in range(metadata.num_columns)
    ]
    return int(sum(c.total_compressed_size for c in columns if c.path_in_schema in NAMES))


def plain(path: Path) -> float:
    """Bytes a row of the features as pyarrow writes them unless told otherwise."""
    return features_size(path) / int(pq.read_metadata(path).num_rows)


def rate(found: dict[str, float]) -> float:
    """Rows a second."""
    return found["rows"] / found["s"]


def peers(harness: Path, folder: Path) -> None:
    """The harness's own peers, where they install; what does not is left out, and named."""
    run = harness / "batch" / "run"
    if not run.is_file():
        print(f"no {run}: streaming lleaves, Spark and Ray Data are left out")
        return
    home = folder / "peers"
    copy = folder / "harness"
    shutil.copytree(run.parent, copy)  # it writes its results beside itself
    env = {**os.environ, "BENCH_HOME": str(home)}
    for step in (["setup"], ["data", "models", "compile"], ["score"], ["report"]):
        done = subprocess.run([str(copy / "run"), *step], env=env, check=False)
        if done.returncode:
            print(f"the harness's `{' '.join(step)}` failed: its peers are left out")
            return


if __name__ == "__main__":
    sys.exit(main())
