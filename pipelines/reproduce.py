"""Making an artifact again from its recipe, in a scratch store, to see whether it is the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import UNSET

from pipelines.dispatch import Dispatcher, Policy
from pipelines.evaluate import Evaluate
from pipelines.features import Features
from pipelines.ingest import Ingest
from pipelines.predict import Predict, PredictShard
from pipelines.runners.protocol import AttemptReference, Runner, job_command
from pipelines.search import Search
from pipelines.train import Train
from registry.artifacts.attempt import Attempt, JobSpec, RecipeRecord, attempts_of
from registry.artifacts.copying import copy_artifact
from registry.artifacts.fetch import dereference, fetch
from registry.artifacts.layout import manifest_path
from registry.artifacts.manifest import Manifest, Producer, Reference
from registry.artifacts.provenance import libraries, running_code
from registry.artifacts.store import Store, open_store
from registry.errors import NotFound, PenstockError, Refused
from registry.halving import LATER

#: The kind of job that makes each family, for artifacts whose attempts are gone.
KINDS = {
    task.family: task.kind
    for task in (Ingest, Features, Train, Evaluate, Predict, PredictShard, Search)
}


class FileDifference(msgspec.Struct, frozen=True):
    """One file that is not the same, and where it first differs."""

    path: str
    where: str


class Verdict(msgspec.Struct, frozen=True):
    """What came of making `key` again. `environment`: what differs between producer and now."""

    key: str
    step: str
    equal: bool
    content: str
    again: str
    files: list[FileDifference]
    environment: list[str]


#: Makes a runner for jobs on the scratch store.
MakeRunner = Callable[[], Runner]


def scratch_command(attempt: Attempt, reference: AttemptReference) -> list[str]:
    """A job that knows that it works on no environment that has rules of its own, and keeps nothing."""
    return [
        "env",
        "PENSTOCK_ENVIRONMENT=scratch",
        "PENSTOCK_BINNED_MB=0",
        *job_command(attempt, reference),
    ]


def reproduce(
    store: Store, reference: Reference, scratch: Path, runner: Runner, policy: Policy, run: str
) -> Verdict:
    """Make the artifact again below the empty folder `scratch`, and compare the files.

    Raises:
        Refused: it was made by hand, from a file, and no job can make it.
        NotFound, Corrupt: the artifact or an input is gone or damaged.
        JobFailed: the job failed.
    """
    manifest = dereference(store, reference)
    spec, size = spec_of(store, manifest)
    there = open_store(str(scratch / "store"))
    for each in manifest.references:
        copy_artifact(store, there, each)
    label = f"{spec.kind} {manifest.name} {manifest.date or ''}".rstrip()
    again = Dispatcher(there, runner, run, policy).make(spec, label, size)
    files = _differences(store, manifest, there, again, scratch)
    changed = environment_changes(manifest.producer)
    changed += device_change(manifest.producer, again.producer)
    return Verdict(manifest.key, label, not files, manifest.content, again.content, files, changed)


def spec_of(store: Store, manifest: Manifest) -> tuple[JobSpec, str]:
    """The specification of the job that made the artifact, and the size it had."""
    made = [a for a in attempts_of(store, manifest.key) if a.number == manifest.producer.attempt]
    if (made and made[0].kind == "import") or (not made and manifest.family not in KINDS):
        raise Refused(
            f"{manifest.key[:16]} cannot be made again",
            f"this {manifest.family} was imported from a file, not made by a job",
            "Keep the file; `penstock import` of it gives the same key.",
        )
    kind = made[0].kind if made else KINDS[manifest.family]
    spec = JobSpec(kind, RecipeRecord.of(manifest.recipe()), _by_role(manifest))
    return spec, made[0].size if made else "s"


def _by_role(manifest: Manifest) -> dict[str, Reference | list[Reference]]:
    """The references of a manifest, which stand in the order of its roles and their keys."""
    known = {reference.key: reference for reference in manifest.references}
    try:
        return {
            role: known[keys] if isinstance(keys, str) else _listed(role, keys, known)
            for role, keys in manifest.inputs.items()
        }
    except KeyError as error:
        raise NotFound(f"{manifest.key[:16]} does not say where its input {error} lies") from None


def _listed(role: str, keys: Sequence[str], known: Mapping[str, Reference]) -> list[Reference]:
    """References of a role in their order. Of a later rung of a search only some were made."""
    decided = role.startswith(LATER)
    return [known[key] for key in keys if key in known or not decided]


def _differences(
    store: Store, manifest: Manifest, there: Store, again: Manifest, scratch: Path
) -> list[FileDifference]:
    if manifest.content == again.content:
        return []
    path = manifest_path(manifest.recipe())
    old = fetch(store, manifest.reference(path), scratch / "cache")
    new = fetch(there, again.reference(path), scratch / "cache")
    before = {file.path: file.sha256 for file in manifest.files}
    after = {file.path: file.sha256 for file in again.files}
    return [
        FileDifference(name, _where(old / name, new / name))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def _where(old: Path, new: Path) -> str:
    """The first difference, found by a process that may load what reads tables."""
    for path, words in ((old, "it was not there before"), (new, "it was not made again")):
        if not path.exists():
            return words
    command = [sys.executable, "-m", "registry.difference", str(old), str(new)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PenstockError("two files could not be compared", done.stderr.strip()[-300:])
    return str(json.loads(done.stdout)["difference"])


def environment_changes(producer: Producer) -> list[str]:
    """What differs between the code and libraries of `producer` and those of this process."""
    import platform

    code = running_code()
    pairs = [
        ("commit", producer.commit[:12], code.commit[:12]),
        ("uncommitted changes", _yes(producer.dirty), _yes(code.dirty)),
        ("Python", producer.python, platform.python_version()),
        ("requirements.lock", producer.lock[:12], code.lock[:12]),
    ]
    then = {} if producer.libraries is UNSET else producer.libraries
    now = libraries() if then else {}
    pairs += [(name, then.get(name, ""), now.get(name, "")) for name in sorted({*then, *now})]
    return [f"{name} {old or 'none'} → {new or 'none'}" for name, old, new in pairs if old != new]


def device_change(then: Producer, now: Producer) -> list[str]:
    """On what it was trained and is trained again, where a GPU was asked for and that differs."""
    old, new = ("none" if each.device is UNSET else each.device for each in (then, now))
    return [f"device {old} → {new}"] if old != new else []


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"
