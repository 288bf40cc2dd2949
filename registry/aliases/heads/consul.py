"""Heads in Consul's keys: moved by check-and-set, watched by blocking queries.

The rules for watching are those of Consul's documentation of blocking queries: an answer is not a
change; an index that went back, or is 0, starts anew; an absent key has an index to block on.
While Consul has no leader, its servers answer stale reads; what those show may be old, so only a
higher revision than the one that is known counts.
"""

from __future__ import annotations

import random
import time

from registry.aliases.heads.bucket import TokenBucket
from registry.aliases.heads.protocol import Head
from registry.artifacts.records import decode_record, encode_record
from registry.consul.client import Consul, Entry
from registry.consul.errors import NoLeader
from registry.errors import BadData, Temporary

#: Seconds before a head is looked at again after a write whose outcome is not known.
PAUSES = (0.1, 0.2, 0.4)
#: Requests about one alias: so many at once, then so many a second.
BURST, RATE = 10, 2.0
#: Seconds that are too few to block for.
_MOMENT = 0.005


class ConsulHeads:
    """Heads below `prefix`; see `Heads` for the methods. May be shared between threads."""

    def __init__(self, consul: Consul, prefix: str) -> None:
        self._consul = consul
        self._prefix = prefix
        self._buckets: dict[tuple[str, str], TokenBucket] = {}

    def key(self, model: str, alias: str) -> str:
        """Where the head of an alias is."""
        return f"{self._prefix}/heads/{model}/{alias}"

    def read(self, model: str, alias: str) -> Head | None:
        return self._head(self._consul.get(self.key(model, alias)).entry, model, alias)

    # moving -----------------------------------------------------------------------------------

    def advance(self, head: Head) -> Head:
        # Tried once: where Consul is away, nothing was asked of it yet.
        standing = self._standing(head, self._entry(head))
        if standing is not None:
            return standing
        for pause in PAUSES:
            try:
                return self._moved(head)
            except Temporary:
                # It may have been written all the same; then the next look finds it.
                time.sleep(pause)
        return self._moved(head)

    def _moved(self, head: Head) -> Head:
        while True:
            entry = self._entry(head)
            standing = self._standing(head, entry)
            if standing is not None:
                return standing
            index = entry.index if entry else 0
            if self._consul.put(self.key(head.model, head.alias), encode_record(head), cas=index):
                return head

    def _entry(self, head: Head) -> Entry | None:
        return self._consul.get(self.key(head.model, head.alias)).entry

    def _standing(self, head: Head, entry: Entry | None) -> Head | None:
        """What stands, if it is as high as `head`: its write id tells whose it is."""
        try:
            standing = self._head(entry, head.model, head.alias)
        except BadData:
            return None
        return standing if standing and standing.revision >= head.revision else None

    def _head(self, entry: Entry | None, model: str, alias: str) -> Head | None:
        if entry is None:
            return None
        todo = "Delete the key; the next command that reads the alias writes it anew."
        where = f"the key {entry.key} in Consul"
        try:
            head = decode_record(entry.value, Head, where, "head")
        except BadData as error:
            raise BadData(error.what, error.why, todo) from None
        if (head.model, head.alias) != (model, alias):
            found = f"it is that of {head.model}@{head.alias}"
            raise BadData(f"{where} is not the head of its name", found, todo)
        return head

    # watching ---------------------------------------------------------------------------------

    def wait(self, model: str, alias: str, revision: int, timeout: float) -> Head | None:
        deadline = time.monotonic() + timeout
        index = elections = 0
        while self._admitted(model, alias, deadline):
            try:
                # Consul blocks for up to a sixteenth more than it is asked to.
                left = max(0.0, deadline - time.monotonic()) * 16 / 17
                found = self._consul.get(self.key(model, alias), index=index, wait=left)
            except NoLeader:
                index, elections = 0, elections + 1
                head = self._stale(model, alias, above=revision)
            else:
                index, elections = next_index(index, found.index), 0
                head = self._head(found.entry, model, alias)
            if head is not None and head.revision != revision:
                return head
            left = deadline - time.monotonic()
            if left < _MOMENT:
                return None
            if elections:
                time.sleep(min(left, _pause(elections)))
        return None

    def _stale(self, model: str, alias: str, above: int) -> Head | None:
        """The head as a server without a leader knows it, unless that is old."""
        entry = self._consul.get(self.key(model, alias), stale=True).entry
        head = self._head(entry, model, alias)
        return head if head and head.revision > above else None

    def _admitted(self, model: str, alias: str, deadline: float) -> bool:
        """Wait for leave to ask once more; false where the deadline comes first."""
        bucket = self._buckets.setdefault((model, alias), TokenBucket(BURST, RATE))
        while pause := bucket.take():
            left = deadline - time.monotonic()
            time.sleep(max(0.0, min(pause, left)))
            if left < pause:
                return False
        return True


def next_index(asked: int, seen: int) -> int:
    """The index to block on next; 0 asks for an answer at once.

    An index that went back (a snapshot was restored, the agent lost its data) says nothing about
    the new ones. Blocking on 0 would not block.
    """
    return 0 if seen < asked else max(1, seen)


def _pause(elections: int) -> float:
    """Seconds until the servers are asked for a leader again, the longer the more often."""
    return min(5.0, 0.25 * 2.0 ** (elections - 1)) * random.uniform(0.5, 1.0)
