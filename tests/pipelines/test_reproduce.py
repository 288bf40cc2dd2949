"""Made again: equal, or told what differs; nothing of the real store changes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest

from pipelines.dispatch import Policy
from pipelines.reproduce import (
    KINDS,
    Verdict,
    device_change,
    environment_changes,
    reproduce,
    spec_of,
)
from pipelines.runners.machine import commit_files
from pipelines.runners.protocol import AttemptReference
from pipelines.runners.stub import StubRunner
from pipelines.search import Search
from registry.artifacts.attempt import Attempt, attempts_of
from registry.artifacts.commit import Output, commit
from registry.artifacts.fetch import fetch
from registry.artifacts.manifest import Manifest
from registry.artifacts.provenance import libraries, producer_of
from registry.artifacts.store import open_store
from registry.errors import Corrupt, Refused
from tests.pipelines.small import DAY, NAME, World, small_work
from tests.registry.makers import a_producer, an_attempt, commit_one


def again(world: World, manifest: Manifest, folder: Path, work=None) -> Verdict:
    runner = StubRunner(work or small_work())
    reference = world.reference(manifest)
    return reproduce(world.store, reference, folder, runner, Policy(), "a-run")


def test_every_artifact_is_made_again(world: World, tmp_path: Path):
    world.run()
    before = list(world.store.list(""))
    for manifest in world.manifests():
        verdict = again(world, manifest, tmp_path / manifest.key[:16])
        assert verdict.equal, verdict
        assert verdict.again == manifest.content
    assert list(world.store.list("")) == before


def test_jobs_get_their_inputs_from_the_scratch_store(world: World, tmp_path: Path):
    world.run()
    manifest = world.one("model", algorithm="lightgbm")
    seen: list[Path] = []

    def work(attempt: Attempt, reference: AttemptReference) -> None:
        store = open_store(reference.root)
        seen.extend(fetch(store, each, tmp_path / "cache") for each in attempt.spec.inputs())
        small_work()(attempt, reference)

    assert again(world, manifest, tmp_path / "scratch", work).equal
    assert len(seen) == len(manifest.references) > 0
    assert all(path.is_relative_to(tmp_path / "scratch") for path in seen)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (
            {"made.txt": b"other\n", "more.txt": b"a second file\n" * 10},
            {"made.txt": "line 1: features"},
        ),
        (
            {"more.txt": b"a second file\n" * 9},
            {"more.txt": "line 10", "made.txt": "not made again"},
        ),
        ({"new.bin": b"x"}, {"new.bin": "not there before"}),
    ],
)
def test_what_differs_is_named(
    world: World, tmp_path: Path, files: Mapping[str, bytes], told: Mapping[str, str]
):
    world.run()
    manifest = world.one("features")
    verdict = again(world, manifest, tmp_path / "scratch", commit_files(files))
    assert not verdict.equal
    found = {file.path: file.where for file in verdict.files}
    for name, words in told.items():
        assert words in found[name]
    assert found.keys() - told.keys() <= {"made.txt", "more.txt"}


def test_a_damaged_input_is_no_input(world: World, tmp_path: Path):
    world.run()
    manifest = world.one("features")
    source = manifest.references[0].path.removeprefix("manifests/").removesuffix(".json")
    (path,) = [p for p in world.store.list(f"data/{source}/") if p.endswith("made.txt")]
    world.store._objects[path] = b"damaged"  # type: ignore[attr-defined]
    with pytest.raises(Corrupt):
        again(world, manifest, tmp_path / "scratch")


def test_the_specification_is_known_without_attempts(world: World):
    """Of a search by halving, too, whose recipe names evaluations that were never made."""
    world.run()
    plan = {"space": {"leaves": [2, 4, 6]}, "halving": {"eta": 2, "rungs": 2}}
    about: dict[str, Any] = {"usecase": NAME, "date": DAY, "algorithm": "lightgbm", "plan": plan}
    world.run_steps(Search(**about))
    for manifest in world.manifests():
        (attempt,) = attempts_of(world.store, manifest.key)
        gone = open_store("memory://nothing-there")
        rebuilt, _ = spec_of(gone, manifest)
        assert rebuilt == attempt.spec
    # The small use case predicts whole days.
    assert set(KINDS) == {manifest.family for manifest in world.manifests()} | {"shard"}


def test_what_a_person_brought_cannot_be_made_again(tmp_path: Path):
    store = open_store(str(tmp_path / "store"))
    attempt = an_attempt(store)
    attempt = msgspec.structs.replace(attempt, kind="import")
    manifest = commit_one(store).manifest
    path = tmp_path / "store" / attempt.path
    path.chmod(0o644)
    path.write_bytes(msgspec.json.encode(attempt))
    with pytest.raises(Refused, match="imported from a file"):
        spec_of(store, manifest)


def test_libraries_are_recorded_and_compared(world: World):
    world.run()
    producer = world.one("features").producer
    assert producer.libraries == libraries()
    assert "lightgbm" in libraries()
    assert environment_changes(producer) == []
    older = dict(libraries()) | {"lightgbm": "4.0.0"}
    told = environment_changes(msgspec.structs.replace(producer, libraries=older, commit="f" * 40))
    assert told == [
        f"commit {'f' * 12} → {producer.commit[:12]}",
        f"lightgbm 4.0.0 → {libraries()['lightgbm']}",
    ]


def test_another_device_is_told(world: World):
    world.run()
    producer = world.one("features").producer
    card = msgspec.structs.replace(producer, device="NVIDIA L4 GPU-1")
    assert device_change(producer, producer) == device_change(card, card) == []
    assert device_change(card, producer) == ["device NVIDIA L4 GPU-1 → none"]


def test_manifests_from_before_libraries_were_recorded_stay_readable(tmp_path: Path):
    store = open_store(str(tmp_path / "store"))
    attempt = an_attempt(store)
    with TemporaryDirectory() as folder:
        Path(folder, "file").write_bytes(b"x")
        done = commit(store, attempt, Output(Path(folder)), a_producer(attempt))
    assert b"libraries" not in store.get(done.path)
    assert b"libraries" in msgspec.json.encode(producer_of(attempt))
    assert environment_changes(done.manifest.producer)
