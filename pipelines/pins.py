"""Pins: choices fixed for every later run of a use case and logical date.

The champion to compare with and the model that scores a day are not functions of parameters. They
are recorded once, created if absent, so that all runs of a date see the same. A pin whose artifact
was retracted afterwards, itself or through its inputs, gives way to the next number.
"""

from __future__ import annotations

import datetime as dt
import re
import threading

import msgspec

from pipelines.index import Index
from registry.artifacts import layout
from registry.artifacts.manifest import Reference
from registry.artifacts.records import decode_record, encode_record
from registry.artifacts.store.once import create_once, write_id
from registry.artifacts.store.protocol import Store

_PIN = re.compile(r".*/(?P<what>[a-z0-9-]+)-(?P<number>[0-9]{4})\.json")


class Pin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `what` is for a use case and date: an artifact, or None for "there is none".

    `withdrawn` tells that the artifact was retracted already when it was chosen: it was live all
    the same.
    """

    usecase: str
    date: str
    what: str
    reference: Reference | None
    run: str
    when: str
    write_id: str
    withdrawn: bool = False


class Pins:
    """The pins of one environment."""

    def __init__(self, store: Store, index: Index) -> None:
        self._store = store
        self._index = index
        self._known: dict[tuple[str, str], dict[str, dict[int, Pin]]] = {}
        #: What was read before one of these is not kept after it: threads share the pins.
        self._changes = 0
        self._lock = threading.Lock()

    def find(self, usecase: str, date: str, what: str) -> Pin | None:
        """The pin that holds now, or None if none was set or the last gave way."""
        pins = self._read(usecase, date).get(what)
        if not pins:
            return None
        last = pins[max(pins)]
        return None if self._gave_way(last) else last

    def set(self, usecase: str, date: str, what: str, reference: Reference | None, run: str) -> Pin:
        """Fix `what`, unless another run did it first: then what that run fixed."""
        standing = self.find(usecase, date, what)
        if standing is not None:
            return standing
        number = 1 + max(self._read(usecase, date).get(what, ()), default=0)
        when = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        withdrawn = self._is_withdrawn(reference)
        pin = Pin(usecase, date, what, reference, run, when, write_id(), withdrawn)
        path = layout.pin_path(usecase, date, f"{what}-{number:04d}")
        created = create_once(self._store, path, encode_record(pin))
        with self._lock:
            self._changes += 1
            self._known.pop((usecase, date), None)
        return decode_record(created.data, Pin, path, "pin")

    def forget(self) -> None:
        """Read them again at the next question, in a fork."""
        self._lock = threading.Lock()  # A thread that is not in the fork may hold the other.
        self._changes += 1
        self._known = {}

    def _gave_way(self, pin: Pin) -> bool:
        """A withdrawn artifact gives way, unless it was chosen knowing that."""
        return not pin.withdrawn and self._is_withdrawn(pin.reference)

    def _is_withdrawn(self, reference: Reference | None) -> bool:
        return reference is not None and self._index.is_withdrawn(reference.path)

    def _read(self, usecase: str, date: str) -> dict[str, dict[int, Pin]]:
        """The pins of a date by what they fix and by number."""
        known = self._known.get((usecase, date))
        if known is None:
            changes = self._changes
            known = self._listed(usecase, date)
            with self._lock:
                if changes == self._changes:
                    self._known[usecase, date] = known
        return known

    def _listed(self, usecase: str, date: str) -> dict[str, dict[int, Pin]]:
        found: dict[str, dict[int, Pin]] = {}
        for path in self._store.list(f"pins/{usecase}/{date}/"):
            if name := _PIN.fullmatch(path):  # Other files, such as copies, do not count.
                pin = decode_record(self._store.get(path), Pin, path, "pin")
                found.setdefault(name["what"], {})[int(name["number"])] = pin
        return found
