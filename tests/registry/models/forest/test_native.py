"""The C code outside Python: under sanitisers, on an older processor, with broken images."""

from __future__ import annotations

import random
import shutil

import numpy as np
import pytest

from tests.registry.models.forest import native
from tests.registry.models.forest.drawn import draw_model, draw_plan
from tests.registry.models.forest.oracle import bits, booster, scores

# One worker of xdist, so that what is compiled is compiled once.
pytestmark = [pytest.mark.timeout(0), pytest.mark.xdist_group("native")]


@pytest.fixture(scope="module")
def sanitised(tmp_path_factory):
    return native.build(tmp_path_factory.mktemp("native") / "sanitised", *native.SANITISED)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return native.build(tmp_path_factory.mktemp("native") / "plain", "-static")


def test_it_compiles_without_a_warning(tmp_path):
    native.build(tmp_path / "strict", "-O0", *native.STRICT)


def drawn(rng: random.Random, path, **fixed):
    """A model and hostile rows as a file for the driver, and what the library makes of them."""
    model = draw_model(rng, draw_plan(rng, **fixed))
    rows = model.rows(rng, rng.choice((1, 30, 70)))
    native.write_frame(path, model, rows)
    return model, rows, bits(scores(booster(model.text), rows, raw_score=True))


@pytest.mark.campaign
def test_sanitisers_see_nothing_and_the_scores_are_right(campaign, sanitised, tmp_path):
    for turn in campaign.rounds(short=25):
        model, rows, want = drawn(turn.random, tmp_path / "frame")
        stdout, _ = native.run(sanitised, tmp_path / "frame")
        for got in native.scores_of(stdout, len(rows), model.outputs):
            assert np.array_equal(bits(got), want)


@pytest.mark.campaign
def test_a_broken_image_is_refused_or_harmless(campaign, sanitised, tmp_path):
    tried = passed = 0
    for turn in campaign.rounds(short=6):
        wide = {"leaves": ((300,), (7, 65), (1, 2, 9))[turn.number % 3]}
        drawn(turn.random, tmp_path / "frame", **wide)
        stdout, _ = native.run(sanitised, tmp_path / "frame", turn.random.randrange(2**31), 1000)
        tried, passed = tried + 1000, passed + int(stdout)
    print(f"{tried} mutated images, {passed} of them sound")


@pytest.mark.skipif(not shutil.which("qemu-x86_64"), reason="qemu-user is not installed")
@pytest.mark.parametrize(("processor", "level"), [("Nehalem", 1), ("Haswell", 2)])
def test_an_older_processor_gives_the_same(plain, tmp_path, processor, level):
    model, rows, want = drawn(random.Random(4), tmp_path / "frame", leaves=(63, 300))
    emulated = ("qemu-x86_64", "-cpu", processor)
    stdout, stderr = native.run(plain, tmp_path / "frame", under=emulated)
    assert stderr.splitlines()[-1] == f"level {level}"
    found = native.scores_of(stdout, len(rows), model.outputs)
    assert len(found) == 1 + 3 * level
    assert all(np.array_equal(bits(got), want) for got in found)
