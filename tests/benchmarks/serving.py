"""`python -m tests.benchmarks.serving [PEERS]`: requests to a served model, beside the peers.

A LightGBM model of 500 trees × 63 leaves × 28 features, and a numeric CatBoost one, are imported as
bundles and served with default settings; wrk asks over keep-alive connections. `PEERS/serving/run`
measures the peers and penstock in one run, in turns; without it penstock is measured alone. A cell
is rows of a request × connections. CPU seconds are those of the whole tree of processes. "full path"
is penstock with no row predicted in the gateway (docs/decisions/0030-inline-scoring.md); "ceiling" is
what wrk gets on this machine from a server that only answers, the same to everybody.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from dataclasses import astuple, replace
from pathlib import Path

from tests.benchmarks import forest, serving_ceiling, serving_data
from tests.benchmarks.serving_data import CATBOOST, LIGHTGBM, Cell, Results, Side
from tests.benchmarks.serving_harness import Harness, fairness, measure_alone

CELLS = ("1x64", "1x256", "1x1", "64x64")
#: Peers of the table unless others are named; the harness knows more (`run --list`).
PEERS = ("fastapi-raw-2", "fastapi-2", "pytriton", "aqueduct-1")
OURS, FULL = "penstock", "penstock, full path"


def main() -> int:
    """Measure and print; judges nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peers", nargs="?", type=Path, help="folder of peer harnesses")
    parser.add_argument("--names", nargs="*", default=PEERS, help="peers to run, by harness name")
    parser.add_argument("--cells", default=",".join(CELLS), help="rows x connections, by commas")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--reps", type=int, default=2)
    parser.add_argument("--skip-catboost", action="store_true")
    words = parser.parse_args()
    if shutil.which(os.environ.get("BENCH_WRK", "wrk")) is None:
        print("  left out: there is no wrk (Debian package wrk)")
        return 0
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        if words.peers is None:
            alone(folder, words)
        else:
            beside(folder, words)
    return 0


def alone(folder: Path, words: argparse.Namespace) -> None:
    """Penstock's own numbers, and how evenly it treats its connections."""
    model = forest.train(folder)
    data = serving_data.prepare(folder / "lightgbm", LIGHTGBM, model.read_bytes())
    side = Side(folder / "serve", LIGHTGBM, data.model)
    runs: dict[str, list[dict[str, Cell]]] = {name: [] for name in both(side)}
    for _ in range(words.reps):
        for name, each in both(side).items():
            runs[name].append(measure_alone(each, data, words.cells.split(","), words.seconds))
    results = {name: medians(found) for name, found in runs.items()}
    results[serving_ceiling.NAME] = _ceiling(folder, data, words)
    print_table("LightGBM", results)
    print(f"  {fairness(side, data, words.seconds)}")


def _ceiling(folder: Path, data: serving_data.Data, words: argparse.Namespace) -> dict[str, Cell]:
    return serving_ceiling.measure(folder, data, words.cells.split(","), words.seconds)


def both(side: Side) -> dict[str, Side]:
    """Penstock as it is, and with every row going the full path."""
    return {OURS: side, FULL: side.beside(inline_rows=0)}


def medians(runs: list[dict[str, Cell]]) -> dict[str, Cell]:
    """Each number of each cell: the median over runs, but all of their errors."""
    found = {}
    for cell in runs[0]:
        rows = [run[cell] for run in runs]
        middle = Cell(*map(statistics.median, zip(*map(astuple, rows), strict=True)))
        found[cell] = replace(middle, errors=sum(row.errors for row in rows))
    return found


def beside(folder: Path, words: argparse.Namespace) -> None:
    """Penstock and the peers in one run, model by model."""
    harness = Harness(words.peers / "serving" / "run", words.seconds, words.reps)
    missing = [name for name in words.names if not harness.installed(name)]
    if missing:
        print(f"  left out, not installed (see {harness.run.parent}): {', '.join(missing)}")
    names = [name for name in words.names if name not in missing]
    model = harness.train()
    side = Side(folder / "serve", LIGHTGBM, model)
    data = serving_data.read(harness.home / "data", LIGHTGBM)
    results = harness.measure(names, both(side), words.cells)
    results[serving_ceiling.NAME] = _ceiling(folder, data, words)
    print_table("LightGBM", results)
    print(f"  {fairness(side, data, words.seconds)}")
    if not words.skip_catboost:
        home = serving_data.catboost_home(folder / "home", harness.home)
        side = Side(folder / "serve-catboost", CATBOOST, home / "data" / "model.txt")
        print_table("CatBoost", harness.measure([], {OURS: side}, "1x64", home))


def print_table(title: str, results: Results) -> None:
    """Every server of every cell, then ours as ratios to the best peer of that cell."""
    print(f"  {title}: {'server':20} {'cell':>7} {'req/s':>9} {'p50 ms':>8} {'p99 ms':>8} "
          f"{'CPU s/1000':>11} {'errors':>7} {'others':>7}")  # fmt: skip
    for cell in dict.fromkeys(cell for cells in results.values() for cell in cells):
        rows = {name: cells[cell] for name, cells in results.items() if cell in cells}
        for name, row in sorted(rows.items(), key=lambda item: -item[1].rps):
            print(f"  {title}: {name:20} {cell:>7} {row.rps:9,.0f} {row.p50:8.2f} {row.p99:8.2f} "
                  f"{row.cpu:11.4f} {row.errors:7d} {row.others:7.2f}")  # fmt: skip
        ours = rows.pop(OURS, None)
        top = rows.pop(serving_ceiling.NAME, None)
        rows.pop(FULL, None)
        if ours is None or not rows:
            continue
        best = max(rows, key=lambda name: rows[name].rps)
        peer, calm = rows[best], min(row.p99 for row in rows.values())
        print(
            f"  {title}: {cell} against {best}: throughput × {ours.rps / peer.rps:.1f}, CPU "
            f"1/{peer.cpu / ours.cpu:.1f}, p50 1/{peer.p50 / ours.p50:.1f}, p99 "
            f"1/{peer.p99 / ours.p99:.1f}; p99 against the lowest 1/{calm / ours.p99:.1f}",
            flush=True,
        )
        if top is not None:
            print(
                f"  {title}: {cell} ceiling against {best}: throughput × {top.rps / peer.rps:.1f}, "
                f"CPU 1/{peer.cpu / top.cpu:.1f}, p50 1/{peer.p50 / top.p50:.1f}",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
