"""Reloads under load: latency while a model changes, beside the same load while none does.

`python -m tests.benchmarks.reload [PEERS] [--reloads 10] [--rows 64]`. A real service with default
settings, but for the waits between reloads; LightGBM models of 500 trees × 63 leaves × 28 features,
each reload another one whose native image has to be made first. Requests leave at half the rate that
the same client gets when it asks without a pause. A request counts as during a reload from the moment
at which the alias moves until the processes of the model before have ended.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import lightgbm
import numpy as np

from registry.artifacts.manifest import Reference
from registry.models.bundle import write_bundle
from registry.models.golden import Golden
from registry.models.signature import Input, Output, Signature
from tests.benchmarks import forest
from tests.benchmarks.open_loop import Answer, Generator
from tests.serving.rig import Publisher, Service, service

CONNECTIONS, WARM = 32, 5.0
#: Seconds without a reload before each, and the longest that one may take.
CALM, LONGEST = 4.0, 60.0


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
            print(f"  {asyncio.run(measure(running, publisher, models[1:], words.rows))}")
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
    ended: float = float("inf")


async def measure(
    running: Service, publisher: Publisher, models: list[Reference], rows: int
) -> str:
    """Reload one after the other under load; what became of the requests, in words."""
    path = "/v2/models/m/infer"
    bodies = [body(number, rows) for number in range(32)]
    capacity = await Generator(running.address, path, bodies).saturate(CONNECTIONS, WARM)
    generator = Generator(running.address, path, bodies)
    windows: list[Window] = []
    changing = asyncio.create_task(change(running, publisher, models, windows))
    load = asyncio.create_task(generator.run(capacity / 2, (len(models) + 1) * (CALM + LONGEST)))
    await changing
    load.cancel()
    await asyncio.wait([load])
    await asyncio.sleep(1.0)
    return words_of(generator, windows, capacity)


async def change(
    running: Service, publisher: Publisher, models: list[Reference], windows: list[Window]
) -> None:
    """Wait, point the alias at the next model, wait until nothing of the one before is left."""
    for model in models:
        await asyncio.sleep(CALM)
        before = set(running.processes("pen:m"))
        windows.append(Window(time.monotonic()))
        publisher.point("m", model)
        while before & set(running.processes("pen:m")):
            if time.monotonic() - windows[-1].begun > LONGEST:
                raise SystemExit("a reload does not end")
            await asyncio.sleep(0.1)
        windows[-1].ended = time.monotonic()
    await asyncio.sleep(CALM)


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


def words_of(generator: Generator, windows: list[Window], capacity: float) -> str:
    """Both sides and their ratio."""
    during: list[float] = []
    calm: list[float] = []
    failed = 0
    for answer in generator.answers:
        failed += answer.status != 200
        (during if _is_during(answer, windows) else calm).append(answer.seconds)
    asked = len(generator.answers)
    versions = {json.loads(answer.body)["model_version"] for answer in generator.answers}
    length = statistics.median(window.ended - window.begun for window in windows)
    (calm50, calm99), (during50, during99) = _cuts(calm), _cuts(during)
    return (
        f"{len(windows)} reloads of {length:.1f} s at {capacity / 2:.0f} requests/s, half of what "
        f"{CONNECTIONS} connections get: {asked} requests, {failed} failed, {len(versions)} versions "
        f"answered; p50 / p99 {calm50:.2f} / {calm99:.2f} ms, during reloads {during50:.2f} / "
        f"{during99:.2f} ms, × {during99 / calm99:.2f}; {generator.late} left over 50 ms late"
    )


def _is_during(answer: Answer, windows: list[Window]) -> bool:
    end = answer.sent + answer.seconds
    return any(window.begun <= end and answer.sent <= window.ended for window in windows)


def _cuts(seconds: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(seconds, n=100)
    return 1e3 * cuts[49], 1e3 * cuts[98]


if __name__ == "__main__":
    raise SystemExit(main())
