"""What was tried: attempts with their ends, for views. Read again, it reads only what is new."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from registry.artifacts.attempt import Attempt, AttemptEnd, is_record
from registry.artifacts.catalog import decode_or_none, read_many
from registry.artifacts.store.protocol import Store

_END, _LOG = ".end.json", ".log"


@dataclass(frozen=True)
class Tried:
    """An attempt, and its end where somebody has recorded one."""

    attempt: Attempt
    end: AttemptEnd | None
    has_log: bool

    @property
    def failed(self) -> bool:
        """Whether it ended without an artifact."""
        return self.end is not None and self.end.kind != "committed"


class Journal:
    """The attempts of one environment; `refresh` before the first question.

    Args:
        run: keep the attempts of this run alone, and those at `keys`; default: all.
        keys: recipe keys whose attempts are kept as well.
    """

    def __init__(self, store: Store, run: str = "", keys: Iterable[str] = ()) -> None:
        self._store = store
        self._run = run.encode()
        self._keys = frozenset(keys)
        self._attempts: dict[str, Attempt] = {}
        self._ends: dict[str, AttemptEnd | None] = {}
        self._seen: set[str] = set()

    def refresh(self, key: str = "") -> None:
        """Read what was recorded since the last time, at the full recipe key `key` or at all."""
        listed = set(self._store.list(f"attempts/{key}/" if key else "attempts/"))
        fresh = sorted(path for path in listed - self._seen if is_record(path))
        self._seen |= listed
        for path, data in read_many(self._store, fresh):
            attempt = decode_or_none(data, Attempt) if self._is_wanted(path, data) else None
            if attempt is not None:
                self._attempts[path.removesuffix(".json")] = attempt
        unread = (f"{stem}{_END}" for stem in self._attempts if stem not in self._ends)
        for path, data in read_many(self._store, sorted(self._seen.intersection(unread))):
            self._ends[path.removesuffix(_END)] = decode_or_none(data, AttemptEnd)

    def tries(self) -> list[Tried]:
        """Every attempt, in the order in which they were opened."""
        found = [
            Tried(attempt, self._ends.get(stem), f"{stem}{_LOG}" in self._seen)
            for stem, attempt in self._attempts.items()
        ]
        return sorted(found, key=lambda tried: (tried.attempt.created, tried.attempt.key))

    def _is_wanted(self, path: str, data: bytes) -> bool:
        """Whether to decode a record: most of thousands belong to other runs."""
        return not self._run or self._run in data or path.split("/")[1] in self._keys
