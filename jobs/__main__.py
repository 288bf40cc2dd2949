"""The entry point of every job: from an attempt record to a committed artifact.

`python -m jobs --root URI --attempt KEY --digest SHA256`, or `python -m jobs --payload FILE` where
the three are in a file: the payload of a dispatch to Nomad. It may run twice, even at once: the
first act is to look whether the artifact is there, the last is a manifest that only one writer can
create. Exit codes: 0 committed; else those of `registry.errors`, of which 65 means bad data (no
retry) and 75 a passing condition (retry). 71 is memory that ran out.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import hashlib
import importlib
import importlib.util
import json
import os
import re
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.device import device_of
from jobs.outcome import Outcome
from registry.artifacts.attempt import Attempt
from registry.artifacts.commit import Output, commit
from registry.artifacts.fetch import fetch, find_manifest
from registry.artifacts.manifest import Reference
from registry.artifacts.provenance import producer_of, refuse_dirty_production, running_code
from registry.artifacts.records import decode_record
from registry.artifacts.store import Store, open_store
from registry.errors import BadData, Corrupt, PenstockError, Temporary
from registry.reports import reports
from registry.sentry import report_errors
from registry.settings import Settings

OUT_OF_MEMORY = 71
_WORDS = {
    "root": "URI of the environment's root",
    "attempt": "key of the attempt record in it",
    "digest": "sha256 of the record",
}
_KIND = re.compile(r"[a-z][a-z_]{0,30}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job that the command line names; returns its exit code."""
    words = _parse(argv)
    try:
        _run(*_dispatched(words))
    except PenstockError as error:
        _report(error)
        _say(error.kind, str(error))
        return error.exit_code
    except MemoryError:
        _say("oom", "the job ran out of the memory that its size allows")
        return OUT_OF_MEMORY
    except Exception as error:
        _report(error)
        raise
    return 0


def _report(error: Exception) -> None:
    """Tell whoever listens for errors; a passing condition is the pipeline's to judge."""
    if not isinstance(error, Temporary):
        with contextlib.suppress(PenstockError):
            report_errors(Settings.load())
        reports.report("a job failed", error, kind=getattr(error, "kind", "defect"))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m jobs", description="Run one attempt.")
    parser.add_argument("--payload", type=Path, help="JSON file that holds the other three")
    for name, what in _WORDS.items():
        parser.add_argument(f"--{name}", help=what)
    words = parser.parse_args(argv)
    given = [name for name in _WORDS if getattr(words, name) is not None]
    if given != ([] if words.payload else list(_WORDS)):
        parser.error("give --payload alone, or --root, --attempt and --digest")
    return words


def _dispatched(words: argparse.Namespace) -> tuple[str, str, str]:
    """Root, attempt and digest, from the words themselves or the file that they name.

    Raises:
        BadData: the file is not the payload of a dispatch.
    """
    if words.payload is None:
        return words.root, words.attempt, words.digest
    try:
        found = json.loads(words.payload.read_bytes())
        root, attempt, digest = (found[name] for name in _WORDS)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadData(
            f"{words.payload} is not the payload of a dispatch",
            f"{type(error).__name__}: {error}",
            "Is this image older than the pipeline?",
        ) from error
    return str(root), str(attempt), str(digest)


def _say(kind: str, message: str) -> None:
    """The last line of the log is what people are shown."""
    line = " ".join(message.split())
    print(f"{kind}: {line}", file=sys.stderr, flush=True)


def _run(root: str, path: str, digest: str) -> None:
    store = open_store(root)
    attempt = _read(store, path, digest)
    if find_manifest(store, attempt.spec.recipe.recipe()) is not None:
        print("the artifact is there already; nothing to do")
        return
    settings = Settings.load()
    refuse_dirty_production(settings.environment, running_code())
    with _workspace(Path(settings.var)) as out, device_of(attempt, settings) as device:
        started = time.time()
        outcome = _work(store, attempt, Path(settings.var) / "cache", out)
        output = _output(out, outcome, started, device.resources)
        committed = commit(store, attempt, output, producer_of(attempt, device.used))
    print(json.dumps({"committed": committed.path, "mine": committed.mine}))


def _read(store: Store, path: str, digest: str) -> Attempt:
    """The attempt record, if it is the one that was dispatched."""
    data = store.get(path)
    if hashlib.sha256(data).hexdigest() != digest:
        raise Corrupt(
            f"the attempt record {path} is not the one that was dispatched",
            "its sha256 differs from the one in the dispatch",
            "Run the pipeline again.",
        )
    return decode_record(data, Attempt, path, "attempt record")


def _work(store: Store, attempt: Attempt, cache: Path, out: Path) -> Outcome:
    """Fetch and verify the inputs, then call the step's pure function."""
    inputs = {
        role: _fetched(store, value, cache) for role, value in attempt.spec.references.items()
    }
    outcome: Outcome = _step(attempt.spec.kind)(inputs, _parameters(attempt), out)
    return dataclasses.replace(outcome, input_bytes=sum(map(_size_of, inputs.values())))


def _size_of(folders: Path | list[Path]) -> int:
    """Bytes of the files below."""
    total = 0
    for folder in folders if isinstance(folders, list) else [folders]:
        # Another job may be putting files into the same cache, by way of others that go.
        with contextlib.suppress(FileNotFoundError):
            total += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return total


def _fetched(store: Store, value: Reference | list[Reference], cache: Path) -> Any:
    if isinstance(value, Reference):
        return fetch(store, value, cache)
    return [fetch(store, reference, cache) for reference in value]


def _step(kind: str) -> Any:
    known = _KIND.fullmatch(kind) and importlib.util.find_spec(f"jobs.{kind}")
    run = getattr(importlib.import_module(f"jobs.{kind}"), "run", None) if known else None
    if run is None:
        raise BadData(f"there is no job {kind!r}", "", "Is this image older than the pipeline?")
    return run


def _parameters(attempt: Attempt) -> Mapping[str, Any]:
    recipe = attempt.spec.recipe
    models = attempt.spec.references.get("model")
    key = {"model_key": models.key} if isinstance(models, Reference) else {}
    return {**recipe.parameters, "usecase": recipe.name, "date": recipe.date, **key}


def _output(out: Path, outcome: Outcome, started: float, further: Mapping[str, float]) -> Output:
    ended = time.time()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Output(
        out,
        metrics=outcome.metrics,
        resources={
            "peak_rss_mb": used.ru_maxrss / 1024,
            "cpu_s": used.ru_utime + used.ru_stime,
            "wall_s": ended - started,
            "input_bytes": outcome.input_bytes,
            **further,
        },
        timings={"started": started, "ended": ended},
        rows=outcome.rows,
        signature=outcome.signature,
    )


@contextlib.contextmanager
def _workspace(var: Path) -> Iterator[Path]:
    """An empty folder that is gone afterwards; after a kill, the next job removes it."""
    parent = var.absolute() / "work"
    parent.mkdir(parents=True, exist_ok=True)
    with _locked(parent, fcntl.LOCK_EX):  # Until it is locked, a new folder looks abandoned.
        _sweep(parent)
        folder = Path(tempfile.mkdtemp(dir=parent))
        lock = _lock(folder, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _sweep(parent: Path) -> None:
    """Remove the folders of jobs that were killed: nobody holds their lock."""
    for folder in parent.iterdir():
        with (
            contextlib.suppress(FileNotFoundError, BlockingIOError),
            _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB),
        ):
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    lock = _lock(folder, how)
    try:
        yield
    finally:
        os.close(lock)


def _lock(folder: Path, how: int) -> int:
    """A descriptor of the folder that holds its lock. Raises BlockingIOError."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, how)
    except BaseException:
        os.close(lock)
        raise
    return lock


if __name__ == "__main__":
    sys.exit(main())
