"""`python -m tests.benchmarks.forest`: LightGBM models natively, beside LightGBM itself.

500 trees of 63 leaves over 28 features, trained on float32 values. CPU time, of which the least of
many short turns counts; the rivals take turns, so that all meet the same neighbours.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import lightgbm
import numpy as np

from registry.models.forest.evaluator import ForestPredictor, open_forest
from registry.models.forest.images import open_image
from registry.models.forest.library import BIT_VECTORS, BLOCKED_WALK, LEVELS, WALK
from registry.models.lightgbm import LightGBMPredictor

TREES, LEAVES, FEATURES = 500, 63, 28
ROWS = (1, 8, 64, 1024, 65_536)
#: CPU seconds that one turn takes at least; turns are short, for quiet moments to be found.
TURN = 0.01


def train(folder: Path) -> Path:
    """The model as a text file in `folder`, trained unless it is there."""
    path = folder / f"forest-{TREES}-{LEAVES}-{FEATURES}.txt"
    if path.exists():
        return path
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(20_000, FEATURES)).astype(np.float32)
    signal = matrix @ rng.normal(size=FEATURES) + 2 * matrix[:, 0] * matrix[:, 1]
    labels = signal + rng.normal(size=len(matrix)) > 0
    settings = {"objective": "binary", "num_leaves": LEAVES, "learning_rate": 0.05, "seed": 3,
                "verbosity": -1, "deterministic": True, "force_row_wise": True}  # fmt: skip
    booster = lightgbm.train(settings, lightgbm.Dataset(matrix, labels), TREES)
    booster.save_model(path)
    return path


def least(calls: Sequence[Callable[[], object]], turns: int) -> list[float]:
    """The least CPU seconds of each call, over `turns` turns in which they alternate."""
    repeats = [1] * len(calls)
    best = [float("inf")] * len(calls)
    for _ in range(turns):
        for number, call in enumerate(calls):
            begun = time.process_time()
            for _ in range(repeats[number]):
                call()
            spent = (time.process_time() - begun) / repeats[number]
            best[number] = min(best[number], spent)
            repeats[number] = max(1, int(TURN / max(best[number], 1e-9)))
    return best


def compare(model: bytes, native: ForestPredictor) -> None:
    """The table of microseconds of CPU for a row."""
    booster = lightgbm.Booster(model_str=model.decode())
    direct = LightGBMPredictor(model)
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(max(ROWS), FEATURES)).astype(np.float32).astype(np.float64)
    raw = booster.predict(matrix[:4096], raw_score=True, num_threads=1)
    assert native.raw(matrix[:4096])[:, 0].tobytes() == np.asarray(raw).tobytes()
    print("µs CPU a row      Booster.predict  C API  native   ratios")
    for rows in ROWS:
        few = matrix[:rows]

        def library(few: np.ndarray = few) -> object:
            return booster.predict(few, num_threads=1)

        calls = [library, lambda few=few: direct.predict(few), lambda few=few: native.predict(few)]
        each = [1e6 * spent / rows for spent in least(calls, 4 if rows > 10_000 else 40)]
        ratios = f"1/{each[0] / each[2]:.1f}, 1/{each[1] / each[2]:.1f}"
        print(
            f"{rows:7d} rows {each[0]:16.1f} {each[1]:9.1f} {each[2]:7.2f}   {ratios}", flush=True
        )


def designs(native: ForestPredictor) -> None:
    """Three designs at every level of instructions that this processor has."""
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(max(ROWS), FEATURES))
    print("µs CPU a row, raw scores     walk  bit vectors  blocked walk")
    best = native._level
    for level in range(1, best + 1):
        native._level = level
        for rows in ROWS:
            few = matrix[:rows]
            calls = [
                lambda few=few, d=d: native.raw(few, d) for d in (WALK, BIT_VECTORS, BLOCKED_WALK)
            ]
            each = [1e6 * spent / rows for spent in least(calls, 3 if rows > 10_000 else 20)]
            numbers = " ".join(f"{number:11.2f}" for number in each)
            print(f"{LEVELS[level]:>18} {rows:6d} rows {numbers}", flush=True)
    native._level = best


LOAD = """
import hashlib, json, resource, sys, time
from pathlib import Path
import numpy as np
from registry.models.forest.evaluator import open_forest
text = Path(sys.argv[1]).read_bytes()
begun = time.process_time()
open_forest(text, hashlib.sha256(text).hexdigest(), 1, None).predict(np.zeros((1, 28)))
spent = time.process_time() - begun
print(json.dumps([spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""

SHARE = """
import json, sys
from pathlib import Path
import numpy as np
from tests.benchmarks.forest import private_mb
rows = np.zeros((1000, 28))
if sys.argv[1] == "native":
    from registry.models.forest.evaluator import open_forest as load
else:
    import lightgbm
text = Path(sys.argv[2]).read_bytes()
before = private_mb()
if sys.argv[1] == "native":
    model = load(text, sys.argv[3], 1, Path(sys.argv[4]))
    model.predict(rows), model.predict(rows[:1])
else:
    model = lightgbm.Booster(model_str=text.decode())
    model.predict(rows, num_threads=1), model.predict(rows[:1], num_threads=1)
print(flush=True)
sys.stdin.readline()
print(json.dumps(private_mb() - before), flush=True)
sys.stdin.read()
"""


def private_mb() -> float:
    """MB of this process that it shares with no other."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def four(kind: str, path: Path, digest: str, images: Path) -> list[float]:
    """MB that each of four processes with the model open has for itself."""
    command = [sys.executable, "-c", SHARE, kind, str(path), digest, str(images)]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    found = []
    for child in children:
        assert child.stdout
        child.stdout.readline()
    for child in children:
        assert child.stdin
        assert child.stdout
        child.stdin.write("\n")
        child.stdin.flush()
        found.append(float(child.stdout.readline()))
    for child in children:
        child.communicate()
    return found


def main() -> None:
    """Print all tables."""
    with tempfile.TemporaryDirectory(prefix="penstock-") as name:
        folder = Path(name)
        path = train(Path(sys.argv[2]) if sys.argv[1:2] == ["--folder"] else folder)
        model = path.read_bytes()
        digest = hashlib.sha256(model).hexdigest()
        native = open_forest(model, digest, 1, None)
        assert native is not None
        print(f"{TREES} trees × {LEAVES} leaves × {FEATURES} features, {LEVELS[native._level]}")
        compare(model, native)
        designs(native)
        loaded = subprocess.run(
            [sys.executable, "-c", LOAD, str(path)], check=True, capture_output=True, text=True
        )
        seconds, megabytes = json.loads(loaded.stdout)
        print(f"from text to first answer: {seconds:.2f} s CPU, {megabytes:.0f} MB peak RSS in all")
        open_image(folder / "images", digest, model)
        for kind in ("native", "booster"):
            each = ", ".join(f"{mb:.1f}" for mb in four(kind, path, digest, folder / "images"))
            print(f"private memory of four processes, {kind}: {each} MB each")


if __name__ == "__main__":
    main()
