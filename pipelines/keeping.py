"""What holds artifacts: aliases, decisions, pins, and how long each family is kept."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipelines.pins import Pin
from registry.aliases.decision import Decision, DecisionLog
from registry.artifacts.collect import Roots
from registry.artifacts.manifest import Reference
from registry.artifacts.reachable import Holdings
from registry.artifacts.records import decode_record
from registry.artifacts.store.protocol import Store
from registry.settings import Settings

_DAY = 86400.0


@dataclass(frozen=True)
class Retention:
    """For how many days artifacts, pins and decisions hold, and how many revisions of an alias."""

    days: float = 30.0
    families: Mapping[str, float] = field(default_factory=dict)
    revisions: int = 5

    @classmethod
    def of(cls, settings: Settings) -> Retention:
        """What the settings say."""
        return cls(settings.gc_keep_days, settings.gc_keep or {}, settings.gc_revisions)

    def is_young(self, made: float | None, now: float, family: str = "") -> bool:
        """Whether something of that time still holds; what has no time does."""
        return made is None or now - made <= self.families.get(family, self.days) * _DAY


def roots_of(store: Store, retention: Retention) -> Roots:
    """What holds artifacts in the environment of `store`."""

    def roots(held: Holdings, now: float) -> set[str]:
        named = [*_decided(store, retention, now), *_pinned(store, retention, now)]
        young = {
            path
            for path, manifest in held.manifests.items()
            if retention.is_young(held.made_at(manifest), now, manifest.family)
        }
        return young | {reference.path for reference in named if reference is not None}

    return roots


def _decided(store: Store, retention: Retention, now: float) -> Iterable[Reference | None]:
    log = DecisionLog(store)
    for name in log.names():
        entries = log.entries(*name)
        newest = entries[-retention.revisions :]
        young = [entry for entry in entries if retention.is_young(_seconds(entry.when), now)]
        yield entries[-1].live
        for entry in [*newest, *young]:
            yield from _named(entry)


def _named(entry: Decision) -> Iterable[Reference | None]:
    return entry.live, entry.candidate, entry.evaluation


def _pinned(store: Store, retention: Retention, now: float) -> Iterable[Reference | None]:
    for path in store.list("pins/"):
        pin = decode_record(store.get(path), Pin, path, "pin")
        if retention.is_young(_seconds(pin.when), now):
            yield pin.reference


def _seconds(when: str) -> float:
    return dt.datetime.fromisoformat(when).timestamp()
