"""A Nomad with the shipped job specifications, whose jobs are small ones that tests can hold.

A round has a store of its own; its pipelines are processes. At its end everything is there exactly
once, and no attempt ever had more than one child.
"""

from __future__ import annotations

import contextlib
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipelines.registration.cluster import Cluster
from pipelines.registration.register import plan, register
from pipelines.registration.specs import WORK, read_spec
from pipelines.registration.wanted import Wanted, expressions, shared
from pipelines.runners.nomad.transport import Access
from registry.artifacts.attempt import Attempt, end_of, is_record, read_attempt
from registry.artifacts.fetch import fetch, read_manifest
from registry.artifacts.store import open_environment
from registry.artifacts.store.protocol import Store
from registry.errors import NotFound
from registry.settings import Settings
from registry.usecase import STEPS
from tests.campaigns.pipeline import ROOT, SIZES
from tests.integration import smallrun
from tests.integration.heldjob import HOLD
from tests.servers import process
from tests.servers.nomad import NomadServer

#: Seconds that anything may take on a machine that is very busy with other things.
PATIENCE = 600
#: What a pipeline says when it takes up what another one began.
FOLLOWS = "was begun by run "
#: What jobs of the small use case ask for: next to nothing, of whatever size they are.
MODEST = {"cpu_mhz": 50, "disk_mb": 50}


@dataclass
class World:
    """A Nomad, where its jobs' files are, and what pipelines find in their environment."""

    nomad: NomadServer
    folder: Path
    environment: Mapping[str, str]
    #: Root of the stores of all rounds; a round appends its number.
    stores: str

    def register(self, *sizes: str, kinds: tuple[str, ...] = STEPS, **values: Any) -> None:
        """Register the shipped specification of the work, with held jobs in place of the real."""
        cluster = Cluster(Access.of(self.nomad.environment))
        spec = read_spec(ROOT / "nomad", WORK)
        settings = Settings.load({}, store=self.stores, environment="dev/test")
        common = {
            **shared(settings, checkout=ROOT), "command": str(self._program()), **MODEST, **values
        }  # fmt: skip
        common["env"] = {**self._job_environment(), **values.get("env", {})}
        with contextlib.closing(cluster):
            for kind in kinds:
                for size in sizes:
                    given = expressions({**common, "kind": kind, "size": size})
                    register(cluster, plan(cluster, Wanted(spec, given), {}))

    def _job_environment(self) -> dict[str, str]:
        return {"HELDJOB_FOLDER": str(self.folder), "PENSTOCK_COMMIT": "0" * 40}

    def _program(self) -> Path:
        """A Python for the specification's `-m jobs` that runs held jobs instead."""
        program = self.folder / "python"
        if not program.exists():
            program.write_text(
                f'#!/bin/sh\nshift 2\nexec "{sys.executable}" -m tests.integration.heldjob "$@"\n'
            )
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return program

    @contextlib.contextmanager
    def round(self, number: int | str, root: str = "features") -> Iterator[Round]:
        """A round; ends its pipelines and children, whatever became of it."""
        made = Round(self, f"{self.stores}/{number}", root)
        for left in self.folder.glob("*.pid"):
            left.unlink()
        try:
            yield made
        finally:
            made.close()


@dataclass(frozen=True)
class Pipeline:
    """A process, and the file that takes what it says."""

    process: subprocess.Popen[str]
    log: Path

    @property
    def said(self) -> str:
        """All that it said so far."""
        return self.log.read_text()

    def kill(self) -> None:
        """End it without warning."""
        self.process.kill()
        self.process.wait()

    def says(self, words: str) -> None:
        """Wait until it has said `words`, which it does while it goes on."""
        self.until(lambda: words in self.said, f"the pipeline says {words!r}")

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until `holds()`, which must be before it ends."""

        def holds_in_time() -> bool:
            ended = self.process.poll() is not None
            found = holds()
            assert found or not ended, self.said
            return found

        until(holds_in_time, what)


@dataclass
class Round:
    """One store, the pipelines on it, and the children that Nomad has of them."""

    world: World
    url: str
    root: str
    pipelines: list[Pipeline] = field(default_factory=list)

    @property
    def store(self) -> Store:
        """The environment that the pipelines write to."""
        return open_environment(Settings.load({}, store=self.url, environment="dev/test"))

    def start(self, **env: str) -> Pipeline:
        """Start a pipeline. Its `var` is its own: it knows what store and Nomad know, no more."""
        folder = self.world.folder / f"pipeline-{len(self.pipelines)}"
        folder.mkdir(exist_ok=True)
        log = folder / "said.txt"
        own = {"PENSTOCK_STORE": self.url, "PENSTOCK_LOG_LEVEL": "warning", **env}
        env = {**self.world.environment, **own}
        with log.open("w") as output:
            made = Pipeline(smallrun.start("nomad", folder, env, self.root, output), log)
        self.pipelines.append(made)
        return made

    def hold(self, kind: str) -> None:
        """Let jobs of this kind wait."""
        (self.world.folder / HOLD).write_text(kind)

    def release(self) -> None:
        """Let all jobs go on."""
        (self.world.folder / HOLD).unlink(missing_ok=True)

    def await_held(self, kind: str, pipeline: Pipeline) -> tuple[int, int]:
        """Wait until a job of the kind is being held; its process id, and that of its parent."""
        file = self.world.folder / f"{kind}.pid"
        pipeline.until(file.exists, f"a held job of {kind}")
        job, parent = map(int, file.read_text().split())
        return job, parent

    def end(self, pipeline: Pipeline) -> tuple[int, str]:
        """The exit code of a pipeline, and what it said."""
        code = pipeline.process.wait(PATIENCE)
        return code, pipeline.said

    def succeeds(self, pipeline: Pipeline) -> str:
        """Wait for a pipeline that ends well; what it said."""
        code, said = self.end(pipeline)
        assert code == 0, said
        return said

    def attempts(self) -> list[Attempt]:
        """Every attempt, in the order of their creation."""
        store = self.store
        found = [read_attempt(store, path) for path in store.list("attempts/") if is_record(path)]
        return sorted(found, key=lambda attempt: attempt.created)

    def ends(self, kind: str) -> list[str]:
        """How the attempts at the artifact of a kind ended; "open" where nobody has told."""
        return [self._end(attempt) for attempt in self.attempts() if attempt.kind == kind]

    def _end(self, attempt: Attempt) -> str:
        try:
            return end_of(self.store, attempt).kind
        except NotFound:
            return "open"

    def children(self) -> list[dict[str, Any]]:
        """What Nomad lists of the children of this round's attempts."""
        runs = {attempt.run for attempt in self.attempts()}
        found = self.world.nomad.api.get("/v1/jobs?prefix=penstock-&meta=true")
        return [job for job in found if (job["Meta"] or {}).get("run_id") in runs]

    def child(self, kind: str, *, dead: bool = False) -> str:
        """The id of the one child of a kind that is alive, or that is dead."""
        jobs = [job for job in self.children() if job["ParentID"].startswith(f"penstock-{kind}-")]
        (found,) = [job["ID"] for job in jobs if (job["Status"] == "dead") == dead]
        return str(found)

    def is_dead(self, child: str) -> bool:
        """Whether Nomad says that a child has ended."""
        return any(job["ID"] == child and job["Status"] == "dead" for job in self.children())

    def counts(self) -> Counter[tuple[str, str]]:
        """How many children each attempt (key, number) has."""
        return Counter((j["Meta"]["artifact_key"], j["Meta"]["attempt"]) for j in self.children())

    def check(self) -> None:
        """One manifest for each artifact, whole; one child for each attempt."""
        store, cache = self.store, self.world.folder / "cache"
        manifests = [(path, read_manifest(store, path)) for path in store.list("manifests/")]
        for path, manifest in manifests:
            fetch(store, manifest.reference(path), cache)
        keys = [manifest.key for _, manifest in manifests]
        assert len(keys) == len(set(keys)) == SIZES[self.root]
        assert set(self.counts().values()) == {1}, self.counts()

    def close(self) -> None:
        """End what is left."""
        self.release()
        for pipeline in self.pipelines:
            pipeline.kill()
        api = self.world.nomad.api
        with contextlib.suppress(OSError):  # the server may be what the round killed
            for job in self.children():
                api.delete(f"/v1/job/{quote(job['ID'], safe='')}?purge=true")


def until(holds: Any, what: str) -> None:
    """Wait until `holds()`, with patience for a busy machine."""
    process.until(holds, what, PATIENCE)


def stop_job(nomad: NomadServer, job: str) -> None:
    """Stop a job as `nomad job stop` does."""
    nomad.api.delete(f"/v1/job/{quote(job, safe='')}")
