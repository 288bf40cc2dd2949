"""The programs that `tests.benchmarks.nomad` compares, each run in a process of its own."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path
from typing import Any

import requests

from pipelines.run import run
from pipelines.runners.nomad.contract import Dispatch, children_prefix, parent_id
from pipelines.runners.nomad.runner import NomadRunner
from pipelines.runners.nomad.transport import Access
from pipelines.runners.protocol import AttemptReference
from pipelines.session import Session
from registry.artifacts.attempt import JobSpec, RecipeRecord, open_attempt
from registry.artifacts.key import Recipe
from registry.artifacts.records import encode_record
from registry.artifacts.store import Store, open_store
from registry.settings import Settings
from tests.benchmarks.noop import DAY, Node, rss_mb

#: Seconds between two questions of the bare loop: a fifth of what the runner allows itself.
PAUSE = 0.2

Found = dict[str, float]


def bare(folder: Path, prefix: str, jobs: float, cap: float) -> Found:
    """Dispatch attempts that are on record, `cap` at once, and wait until Nomad calls them dead."""
    store = open_store(str(folder / "store"))
    dispatches = [_dispatch(store, prefix, number) for number in range(int(jobs))]
    access, session = Access.of(), requests.Session()
    url = f"{access.address}/v1"
    parent = parent_id(prefix, "train", "s")
    begun, used = time.monotonic(), time.process_time()
    flying: set[str] = set()
    index, done = 0, 0
    while done < jobs:
        while dispatches and len(flying) < cap:
            body = dispatches.pop()
            reply = session.post(f"{url}/job/{parent}/dispatch", json=body, timeout=60)
            flying.add(reply.json()["DispatchedJobID"])
        params: dict[str, Any] = {"prefix": children_prefix(parent), "index": index, "wait": "5s"}
        listed = session.get(f"{url}/jobs", params=params, timeout=60)
        index = int(listed.headers["X-Nomad-Index"])
        dead = {job["ID"] for job in listed.json() if job["Status"] == "dead"} & flying
        flying -= dead
        done += len(dead)
        time.sleep(PAUSE)  # or it would ask again at every change, and keep Nomad from its work
    return {"wall": time.monotonic() - begun, "cpu": time.process_time() - used}


def _dispatch(store: Store, prefix: str, number: int) -> dict[str, Any]:
    recipe = Recipe("noop", "flights", 1, {"number": number}, {}, {}, DAY.isoformat())
    spec = JobSpec("train", RecipeRecord.of(recipe), {})
    attempt = open_attempt(
        store, spec, 1, size="s", runner="nomad", host="", run="bare", timeout=3600.0
    )
    digest = hashlib.sha256(encode_record(attempt)).hexdigest()
    reference = AttemptReference(store.url, attempt.path, digest)
    return Dispatch.of(prefix, attempt).body(reference)


def through_nomad(folder: Path, prefix: str, jobs: float, cap: float) -> Found:
    """The same jobs as steps of a pipeline."""
    session = _session(folder, prefix, int(cap), workers=int(cap) + 14)
    result = run(session, _nodes(int(jobs)))
    assert len(result.made) == jobs, (len(result.made), jobs)
    session.close()
    return {}


def waiting_in_nomad(folder: Path, prefix: str, jobs: float, cap: float, seconds: float) -> Found:
    """CPU and memory of a pipeline whose jobs all take long, once all that may are under way."""
    session = _session(folder, prefix, int(cap), workers=int(jobs))
    threading.Thread(target=run, args=(session, _nodes(int(jobs))), daemon=True).start()
    runner = NomadRunner(Access.of(), prefix)
    while len(runner.live()) < cap:
        time.sleep(1)
    time.sleep(5)
    begun, used = time.monotonic(), time.process_time()
    time.sleep(seconds)
    share = (time.process_time() - used) / (time.monotonic() - begun)
    return {"share": 100 * share, "rss": rss_mb(), "threads": threading.active_count()}


def _session(folder: Path, prefix: str, cap: int, workers: int) -> Session:
    env = {
        "PENSTOCK_STORE": str(folder / "store"),
        "PENSTOCK_VAR": str(folder / "var"),
        "PENSTOCK_NOMAD_PREFIX": prefix,
        "PENSTOCK_NOMAD_IN_FLIGHT": str(cap),
        "PENSTOCK_WORKERS": str(workers),
    }
    return Session(Settings.load(env))


def _nodes(jobs: int) -> list[Node]:
    about: dict[str, Any] = {"usecase": "flights", "date": DAY}
    return [Node(**{**about, "number": number}) for number in range(1, jobs + 1)]
