"""Collection: deleting what nothing holds, a day after it was planned.

Manifest before data, so that nobody ever sees an artifact without its files. Every object is
deleted by its name, taken from a manifest, or from the folder of an attempt whose deadline to
commit has passed; what cannot be told is left. A crash at any point is mended by the next call.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from registry.artifacts import layout
from registry.artifacts.collection import Collection, Done, Doomed, begin, finish, pending, record
from registry.artifacts.fetch import read_manifest
from registry.artifacts.manifest import Manifest
from registry.artifacts.reachable import Holdings, read_holdings
from registry.artifacts.store.once import write_id
from registry.artifacts.store.protocol import Store
from registry.crashpoints import crashpoint
from registry.errors import BadData, NotFound

_DATA = re.compile(
    r"data/(?P<stem>.+--(?P<short>[0-9a-f]{16}))/(?P<writer>(?P<number>[0-9]{4,})-[0-9a-f]{12})/.+"
)

#: The manifests (by path) that something holds directly, given what there is and the time.
Roots = Callable[[Holdings, float], set[str]]


@dataclass(frozen=True)
class Garbage:
    """What nothing holds: artifacts, and files of attempts that did not win.

    `unknown` counts files that belong to neither an artifact nor a known attempt; they stay.
    """

    artifacts: list[Doomed]
    orphans: list[str]
    kept: int
    unknown: int

    @property
    def bytes(self) -> int:
        """Bytes of the artifacts' files."""
        return sum(doomed.bytes for doomed in self.artifacts)


def find_garbage(store: Store, roots: Roots, now: float) -> Garbage:
    """What could be planned now; reads only. What is planned already is left out."""
    held = read_holdings(store)
    kept = _kept(held, roots, now)
    plans = pending(store)
    planned = {(doomed.path, doomed.version) for plan in plans for doomed in plan.artifacts}
    doomed = [
        _doomed(path, manifest)
        for path, manifest in sorted(held.manifests.items())
        if path not in kept and (path, manifest.version) not in planned
    ]
    orphans, unknown = _orphans(store, held, now)
    known = {name for plan in plans for name in plan.orphans}
    return Garbage(doomed, [o for o in orphans if o not in known], len(kept), unknown)


def _kept(held: Holdings, roots: Roots, now: float) -> set[str]:
    return held.closure(roots(held, now) | held.under_way(now))


def _doomed(path: str, manifest: Manifest) -> Doomed:
    return Doomed(
        path,
        manifest.key,
        manifest.family,
        manifest.version,
        manifest.data,
        [manifest.data + file.path for file in manifest.files],
        sum(file.size for file in manifest.files),
    )


def _orphans(store: Store, held: Holdings, now: float) -> tuple[list[str], int]:
    """Files of attempts that lost or died, and how many files nobody knows."""
    standing = {manifest.data for manifest in held.manifests.values()}
    unread = {path.removeprefix("manifests/").removesuffix(".json") for path in held.damaged}
    orphans, unknown = [], 0
    for name in store.list("data/"):
        match = _DATA.fullmatch(name)
        if match and f"data/{match['stem']}/{match['writer']}/" in standing:
            continue
        attempt = held.attempts.get((match["short"], int(match["number"]))) if match else None
        if not match or attempt is None or match["stem"] in unread:
            unknown += 1
        elif attempt.deadline < now and layout.stem(attempt.spec.recipe.recipe()) == match["stem"]:
            orphans.append(name)
    return orphans, unknown


def plan_collection(
    store: Store, name: str, garbage: Garbage, who: str, now: float, delay: float
) -> Collection:
    """Record that `garbage` is to be deleted, `delay` seconds from now."""
    plan = Collection(name, who, now, now + delay, garbage.artifacts, garbage.orphans, write_id())
    record(store, plan)
    crashpoint("collect.after_plan")
    return plan


def collect(store: Store, plan: Collection, roots: Roots, who: str, now: float) -> Done | None:
    """Delete what a plan that is due names, unless something holds it by now.

    Returns None when the plan is not due, or was withdrawn.
    """
    if now < plan.due or not begin(store, plan.name, who, now):
        return None
    held = read_holdings(store)
    kept = _kept(held, roots, now)
    gone = [doomed for doomed in plan.artifacts if _delete_artifact(store, doomed, kept)]
    standing = {manifest.data for manifest in held.manifests.values()}
    orphans = [name for name in plan.orphans if _prefix(name) not in standing]
    for name in orphans:
        store.delete(name)
    crashpoint("collect.before_done")
    spared = sorted({doomed.path for doomed in plan.artifacts} - {doomed.path for doomed in gone})
    done = Done(len(gone), len(orphans), sum(doomed.bytes for doomed in gone), spared, now)
    finish(store, plan.name, done)
    return done


def _prefix(name: str) -> str:
    match = _DATA.fullmatch(name)
    return f"data/{match['stem']}/{match['writer']}/" if match else ""


def _delete_artifact(store: Store, doomed: Doomed, kept: set[str]) -> bool:
    """Delete manifest, then files; False when it is held, or its place was taken meanwhile."""
    try:
        standing = read_manifest(store, doomed.path)
    except BadData:
        return False
    except NotFound:  # An earlier call was cut short here.
        standing = None
    if standing is not None:
        if standing.version != doomed.version or doomed.path in kept:
            return False
        crashpoint("collect.before_manifest")
        store.delete(doomed.path)
        crashpoint("collect.after_manifest")
    for name in doomed.files:
        store.delete(name)
        crashpoint("collect.between_files")
    return True
