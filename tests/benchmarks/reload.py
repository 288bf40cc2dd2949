"""Reloads under load: latency while a model changes, beside the same load while none does.

`python -m tests.benchmarks.reload [PEERS] [--reloads 10] [--rows 64]`. A real service with default
settings, but for the waits between reloads; LightGBM models of 500 trees × 63 leaves × 28 features,
each reload another one whose native image has to be made first. Requests leave at half the rate that
the same client gets when it asks without a pause. A request counts as during a reload from the moment
at which the alias moves until the processes of the model before have ended.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import lightgbm
import numpy as np

from registry.artifacts.manifest import Reference
from registry.models.bundle import write_bundle
from registry.models.golden import Golden
from registry.models.signature import Input, Output, Signature
from tests.benchmarks import forest
from tests.benchmarks.open_loop import Answer, ask, saturate
from tests.serving.rig import Publisher, Service, service

CONNECTIONS, WARM = 32, 5.0
#: Seconds from one reload to the next, before the first, and the longest that one may take.
EVERY, CALM, LONGEST = 6.0, 5.0, 60.0


def main() -> int:
    """Measure and print; judges nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peers", nargs="?", help="not used")
    parser.add_argument("--reloads", type=int, default=10)
    parser.add_argument("--rows", type=int, default=64)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        publisher = Publisher(Path(name))
        models = bundles(Path(name), publisher, words.reloads + 1)
        publisher.point("m", models[0])
        with service(publisher, Path(name) / "service", "m") as running:
            print(f"  {measure(running, publisher, models[1:], words.rows)}")
    return 0


def bundles(folder: Path, publisher: Publisher, count: int) -> list[Reference]:
    """So many models whose files differ, by a parameter that no answer depends on."""
    text = forest.train(folder).read_text()
    booster = lightgbm.Booster(model_str=text)
    names = [f"x{number}" for number in range(forest.FEATURES)]
    signature = Signature(tuple(Input(name) for name in names), (Output("p"),))
    rows = np.random.default_rng(5).normal(size=(3, forest.FEATURES))
    answers = tuple((float(p),) for p in np.asarray(booster.predict(rows)))
    golden = Golden(
        tuple(dict(zip(names, row, strict=True)) for row in rows.tolist()), answers, 1e-9
    )
    made = []
    for number in range(count):
        place = folder / f"b{number}"
        place.mkdir()
        model = text.replace("[seed: 3]", f"[seed: {number}]").encode()
        write_bundle(place, flavor="lightgbm", model=model, signature=signature, golden=golden)
        made.append(publisher.commit("m", place))
    assert len({reference.version for reference in made}) == count
    return made


@dataclass
class Window:
    """From when until when the model changed."""

    begun: float
    ended: float


def measure(running: Service, publisher: Publisher, models: list[Reference], rows: int) -> str:
    """Reload one after the other under load; what became of the requests, in words.

    The load has a process of its own: what happens here must not hold it up.
    """
    about = running.address, "/v2/models/m/infer", [body(number, rows) for number in range(32)]
    windows = []
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        capacity = pool.submit(saturate, *about, CONNECTIONS, WARM).result()
        seconds = len(models) * EVERY + CALM
        load = pool.submit(ask, *about, capacity / 2, seconds)
        os.nice(15)  # watching must not disturb; service and load are processes of their own
        begun = time.monotonic()
        for number, model in enumerate(models):
            time.sleep(max(0.0, begun + number * EVERY + CALM - time.monotonic()))
            windows.append(change(running, publisher, model))
        answers, late = load.result()
    return words_of(answers, windows, capacity, late)


def change(running: Service, publisher: Publisher, model: Reference) -> Window:
    """Point the alias at a model, wait until no process of the one before is left."""
    before = set(running.processes("pen:m"))
    begun = time.monotonic()
    publisher.point("m", model)
    while before & set(running.processes("pen:m")):
        if time.monotonic() - begun > LONGEST:
            raise SystemExit("a reload does not end")
        time.sleep(0.1)
    return Window(begun, time.monotonic())


def body(number: int, rows: int) -> bytes:
    """A request of so many rows."""
    values = np.random.default_rng(number).normal(size=rows * forest.FEATURES).round(6).tolist()
    tensor = {
        "name": "x",
        "shape": [rows, forest.FEATURES],
        "datatype": "FP64",
        "data": values,
    }
    return json.dumps({"inputs": [tensor]}).encode()


def words_of(answers: list[Answer], windows: list[Window], capacity: float, late: int) -> str:
    """Both sides and their ratio."""
    good = [answer for answer in answers if answer.status == 200]
    during = [answer.seconds for answer in good if _is_during(answer, windows)]
    calm = [answer.seconds for answer in good if not _is_during(answer, windows)]
    versions = {json.loads(answer.body)["model_version"] for answer in good}
    length = statistics.median(window.ended - window.begun for window in windows)
    (calm50, calm99), (during50, during99) = _cuts(calm), _cuts(during)
    each = [_cuts([a.seconds for a in good if _is_during(a, [window])])[1] for window in windows]
    return (
        f"{len(windows)} reloads of {length:.1f} s at {capacity / 2:.0f} requests/s, half of what "
        f"{CONNECTIONS} connections get: {len(answers)} requests, {len(answers) - len(good)} failed, "
        f"{len(versions)} versions answered; p50 / p99 {calm50:.2f} / {calm99:.2f} ms, during reloads "
        f"{during50:.2f} / {during99:.2f} ms ({len(during)} requests), × {during99 / calm99:.2f}, p99 of the reload "
        f"in the middle {statistics.median(each):.2f} ms; {late} left over 50 ms late"
    )


def _is_during(answer: Answer, windows: list[Window]) -> bool:
    end = answer.sent + answer.seconds
    return any(window.begun <= end and answer.sent <= window.ended for window in windows)


def _cuts(seconds: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(seconds, n=100)
    return 1e3 * cuts[49], 1e3 * cuts[98]


if __name__ == "__main__":
    raise SystemExit(main())
