"""Images as files: made once, shared, made again when damaged."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from registry.errors import BadData
from registry.models.forest import images
from registry.models.forest.evaluator import open_forest
from registry.models.forest.image import build_image
from tests.registry.models.conftest import data


def digest(model: bytes) -> str:
    return hashlib.sha256(model).hexdigest()


@pytest.fixture
def open_shared(lightgbm_model, tmp_path):
    """Open the small model with its image in a folder; the predictors are closed in the end."""
    opened = []

    def open_one():
        predictor = open_forest(lightgbm_model.model, digest(lightgbm_model.model), 1, tmp_path)
        assert predictor is not None
        opened.append(predictor)
        return predictor

    yield open_one
    for predictor in opened:
        predictor.close()


@pytest.fixture
def want(lightgbm_model):
    predictor = open_forest(lightgbm_model.model, "", 1, None)
    assert predictor is not None
    return predictor.predict(data(20, 1))


def test_the_second_one_finds_the_image_of_the_first(open_shared, want, tmp_path, monkeypatch):
    np.testing.assert_array_equal(open_shared().predict(data(20, 1)), want)
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o444
    monkeypatch.setattr(images, "build_image", None)
    np.testing.assert_array_equal(open_shared().predict(data(20, 1)), want)


@pytest.mark.parametrize("damage", [b"", b"PSFOREST", "flip", "cut"], ids=str)
def test_a_damaged_image_is_made_again(open_shared, want, tmp_path, damage):
    open_shared().close()
    (path,) = tmp_path.iterdir()
    sound = path.read_bytes()
    if damage == "flip":
        damage = sound[:-100] + bytes([sound[-100] ^ 1]) + sound[-99:]
    elif damage == "cut":
        damage = sound[: len(sound) // 2]
    path.chmod(0o644)
    path.write_bytes(damage)
    np.testing.assert_array_equal(open_shared().predict(data(20, 1)), want)
    assert path.read_bytes() == sound


def test_many_may_make_it_at_once(open_shared, want, tmp_path):
    with ThreadPoolExecutor(8) as pool:
        for predictor in pool.map(lambda _: open_shared(), range(8)):
            np.testing.assert_array_equal(predictor.predict(data(20, 1)), want)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_written_does_not_stop_it(lightgbm_model, want, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    predictor = open_forest(lightgbm_model.model, "0" * 64, 1, blocked / "images")
    assert predictor is not None
    np.testing.assert_array_equal(predictor.predict(data(20, 1)), want)


def test_old_images_go(lightgbm_model, tmp_path, monkeypatch):
    monkeypatch.setattr(images, "KEPT", 3)
    for number in range(6):
        images.open_image(tmp_path, f"{number:064d}", lightgbm_model.model)
    assert len(list(tmp_path.iterdir())) == 3


def test_what_is_no_model_leaves_nothing(tmp_path):
    with pytest.raises(BadData):
        images.open_image(tmp_path, "0" * 64, b"tree\n")
    assert not list(tmp_path.iterdir())


def test_an_image_of_another_format_is_refused(lightgbm_model):
    from registry.models.forest.evaluator import ForestPredictor
    from registry.models.forest.library import library

    image = bytearray(build_image(lightgbm_model.model))
    image[8] += 1
    lib = library()
    assert lib is not None
    with pytest.raises(BadData, match="malformed"):
        ForestPredictor(lib, bytes(image))


PRIVATE = """
import gc, json, sys
from pathlib import Path
import numpy as np
from registry.models.forest.evaluator import open_forest

def private():
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))

folder, digest, model = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
text, rows = model.read_bytes(), np.zeros((100, 40))
np.full((100, 40), 1.0).sum()
before = private()
predictor = open_forest(text, digest, 1, folder)
predictor.predict(rows)
predictor.predict(rows[:1])
print("ready", flush=True)
sys.stdin.readline()  # now all four have it open, so that pages of the file count as shared
print(json.dumps(private() - before), flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="no smaps_rollup")
def test_four_processes_share_one_image(tmp_path):
    import random

    from tests.registry.models.forest.drawn import Plan, draw_model

    plan = Plan(features=40, iterations=150, leaves=(255,), distinct=6, categorical=0.1, chain=0.0)
    text = draw_model(random.Random(1), plan).text
    (tmp_path / "model.txt").write_bytes(text)
    images.open_image(tmp_path / "images", digest(text), text)
    (path,) = (tmp_path / "images").iterdir()
    assert path.stat().st_size > 1_000_000
    command = [sys.executable, "-c", PRIVATE, str(tmp_path / "images"), digest(text),
               str(tmp_path / "model.txt")]  # fmt: skip
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(4)
    ]
    try:
        assert all(child.stdout and child.stdout.readline() == b"ready\n" for child in children)
        found = []
        for child in children:
            assert child.stdin
            assert child.stdout
            child.stdin.write(b"\n")
            child.stdin.flush()
            found.append(json.loads(child.stdout.readline()))
    finally:
        for child in children:
            child.communicate()
    assert max(found) < 2048, f"KiB of private memory: {found}"
