"""Heads in memory: the twin for tests and dry runs."""

from __future__ import annotations

import threading

from registry.aliases.heads.protocol import Head


class MemoryHeads:
    """A dictionary as heads; see `Heads` for the methods. Shared between threads."""

    def __init__(self) -> None:
        self._heads: dict[tuple[str, str], Head] = {}
        self._changed = threading.Condition()

    def read(self, model: str, alias: str) -> Head | None:
        return self._heads.get((model, alias))

    def advance(self, head: Head) -> Head:
        with self._changed:
            standing = self._heads.get((head.model, head.alias))
            if standing is not None and standing.revision >= head.revision:
                return standing
            self._heads[head.model, head.alias] = head
            self._changed.notify_all()
        return head

    def wait(self, model: str, alias: str, revision: int, timeout: float) -> Head | None:
        def differs() -> bool:
            head = self._heads.get((model, alias))
            return head is not None and head.revision != revision

        with self._changed:
            self._changed.wait_for(differs, timeout)
            return self._heads.get((model, alias)) if differs() else None
