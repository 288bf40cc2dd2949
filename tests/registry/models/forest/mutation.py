"""Broken model texts: `python -m tests.registry.models.forest.mutation SEED COUNT` plays some.

A process of its own, so that a crash or a hang of either evaluator is an exit code or a timeout.
Whatever the text: an error that says so, or the numbers that LightGBM gives. PENSTOCK_TEST_FOREST
names another build of the evaluator. Prints {"tried", "refused", "unsupported", "equal",
"library": texts that only the library refused}.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import re
import sys
from pathlib import Path

import numpy as np

from registry.errors import BadData
from registry.models.forest.errors import Unsupported
from registry.models.forest.evaluator import ForestPredictor
from registry.models.forest.image import build_image
from registry.models.forest.library import library, load_library
from registry.models.lightgbm import LightGBMPredictor
from registry.models.signature import Matrix
from tests.registry.models.forest.drawn import draw_model, draw_plan
from tests.registry.models.forest.oracle import bits

TOKENS = [b"", b"0", b"1", b"-1", b"2", b"7", b"63", b"64", b"-300", b"65536", b"2147483647",
          b"-2147483648", b"4294967296", b"1e0", b"1e308", b"1e309", b"-1e-320", b"nan", b"-nan",
          b"inf", b"-inf", b"+1", b"01", b".5", b"5.", b"1_0", b"0x1", b"1 1", b" ", b"\t", b"=",
          b"\xff"]  # fmt: skip
#: One model is mutated so often: drawing and training cost more than the mutation.
TIMES = 25


def main(seed: int, count: int) -> dict[str, int]:
    """Play `count` mutations."""
    path = os.environ.get("PENSTOCK_TEST_FOREST")
    lib = load_library(Path(path)) if path else library()
    assert lib is not None
    tally = dict.fromkeys(("tried", "refused", "unsupported", "equal", "library"), 0)
    while tally["tried"] < count:
        rng = random.Random(f"{seed}:{tally['tried']}")
        plan = draw_plan(rng, iterations=rng.choice((1, 2)), features=rng.choice((1, 3)),
                         leaves=rng.choice(((1, 2), (2, 3, 9), (12,))), distinct=4)  # fmt: skip
        model = draw_model(rng, plan)
        rows = model.rows(rng, 12)
        for _ in range(TIMES):
            tally["tried"] += 1
            tally[play(lib, mutate(rng, model.text), rows)] += 1
    return tally


def play(lib: ctypes.CDLL, text: bytes, rows: Matrix) -> str:
    """What became of `text`; what the evaluator does not take, the library must survive."""
    try:
        image = build_image(text)
    except BadData:
        return "refused"
    except Unsupported:
        image = b""
    try:
        fallback = LightGBMPredictor(text)
    except BadData:
        return "library"
    if fallback.features != rows.shape[1]:
        return "library"
    outputs, want = fallback.predict(rows), raw(fallback, rows)
    fallback.close()
    if not image:
        return "unsupported"
    predictor = ForestPredictor(lib, image)
    assert np.array_equal(bits(predictor.raw(rows)), bits(want)), text
    np.testing.assert_allclose(predictor.predict(rows), outputs, rtol=1e-12, atol=0)
    return "equal"


def raw(predictor: LightGBMPredictor, rows: Matrix) -> Matrix:
    """Raw scores through the library's C interface; its Python module adds crashes of its own."""
    out = np.empty((len(rows), predictor.outputs))
    written = ctypes.c_int64()
    predictor._call(
        "LGBM_BoosterPredictForMat", predictor._booster, rows.ctypes.data, 1, len(rows),
        rows.shape[1], 1, 1, 0, -1, b"num_threads=1", ctypes.byref(written), out.ctypes.data,
    )  # fmt: skip
    assert written.value == out.size
    return out


def mutate(rng: random.Random, text: bytes) -> bytes:
    """One to three mutations; `tree_sizes` follows in most, as a careful forger would see to."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if b"=" not in text:  # little is left of it
            return text
        text = rng.choice(MUTATIONS)(rng, text)
    return _sized(text) if rng.random() < 0.8 else text


def _flip(rng: random.Random, text: bytes) -> bytes:
    at = rng.randrange(len(text))
    return text[:at] + bytes([rng.randrange(256)]) + text[at + 1 :]


def _number(rng: random.Random, text: bytes) -> bytes:
    """Another number in the place of one; in fields that matter more often than in names."""
    found = list(re.finditer(rb"(?<=[ =:])[^\s=:]+", text))
    if not found:
        return text
    place = rng.choice(found)
    return text[: place.start()] + rng.choice(TOKENS) + text[place.end() :]


def _swap(rng: random.Random, text: bytes) -> bytes:
    """Two numbers of one line change places."""
    lines = text.split(b"\n")
    index = rng.randrange(len(lines))
    name, equals, value = lines[index].partition(b"=")
    words = value.split(b" ")
    one, two = rng.randrange(len(words)), rng.randrange(len(words))
    words[one], words[two] = words[two], words[one]
    lines[index] = name + equals + b" ".join(words)
    return b"\n".join(lines)


def _lines(rng: random.Random, text: bytes) -> bytes:
    """A line is dropped, doubled, moved, emptied or cut."""
    lines = text.split(b"\n")
    index = rng.randrange(len(lines))
    line = lines.pop(index)
    kind = rng.randrange(5)
    if kind == 1:
        lines[index:index] = [line, line]
    elif kind == 2:
        lines.insert(rng.randrange(len(lines) + 1), line)
    elif kind == 3:
        lines[index:index] = [rng.choice((b"", b"\r", b"Tree=0", b"average_output", b"x=1")), line]
    elif kind == 4:
        lines.insert(index, line[: rng.randrange(len(line) + 1)])
    return b"\n".join(lines)


def _cut(rng: random.Random, text: bytes) -> bytes:
    start, end = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
    return text[:start] + text[end:] if rng.random() < 0.5 else text[:end]


MUTATIONS = (_flip, _number, _number, _number, _swap, _swap, _lines, _cut)


def _sized(text: bytes) -> bytes:
    start, end = text.find(b"\nTree=") + 1, text.find(b"end of trees\n")
    if not 0 < start < end:
        return text
    blocks = re.split(rb"(?=^Tree=)", text[start:end], flags=re.MULTILINE)
    sizes = b" ".join(b"%d" % len(block) for block in blocks if block)
    return re.sub(rb"(?m)^tree_sizes=.*$", b"tree_sizes=" + sizes, text, count=1)


if __name__ == "__main__":
    np.seterr(all="ignore")
    print("\n" + json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))  # the library prints as well
