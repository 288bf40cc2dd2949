"""Pins: choices fixed for every later run of a use case and logical date.

The champion to compare with and the model that scores a day are not functions of parameters. They
are recorded once, created if absent, so that all runs of a date see the same. A pin whose artifact
was retracted, itself or through its inputs, gives way to the next number.
"""

from __future__ import annotations

import datetime as dt

import msgspec

from pipelines.index import Index
from registry.artifacts import layout
from registry.artifacts.manifest import Reference
from registry.artifacts.records import decode_record, encode_record
from registry.artifacts.store.once import create_once, write_id
from registry.artifacts.store.protocol import Store


class Pin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `what` is for a use case and date: an artifact, or None for "there is none"."""

    usecase: str
    date: str
    what: str
    reference: Reference | None
    run: str
    when: str
    write_id: str


class Pins:
    """The pins of one environment."""

    def __init__(self, store: Store, index: Index) -> None:
        self._store = store
        self._index = index
        self._known: dict[tuple[str, str], list[Pin]] = {}

    def find(self, usecase: str, date: str, what: str) -> Pin | None:
        """The pin that holds now, or None if none was set or the last gave way."""
        pins = [pin for pin in self._read(usecase, date) if pin.what == what]
        if not pins or self._gave_way(pins):
            return None
        return pins[-1]

    def set(self, usecase: str, date: str, what: str, reference: Reference | None, run: str) -> Pin:
        """Fix `what`, unless another run did it first: then what that run fixed."""
        standing = self.find(usecase, date, what)
        if standing is not None:
            return standing
        number = 1 + sum(pin.what == what for pin in self._read(usecase, date))
        when = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        pin = Pin(usecase, date, what, reference, run, when, write_id())
        path = layout.pin_path(usecase, date, f"{what}-{number:04d}")
        created = create_once(self._store, path, encode_record(pin))
        self._known.pop((usecase, date), None)
        return decode_record(created.data, Pin, path, "pin")

    def _gave_way(self, pins: list[Pin]) -> bool:
        """A withdrawn artifact gives way, unless the same was chosen again knowing that."""
        last = pins[-1].reference
        if last is None or (len(pins) > 1 and pins[-2].reference == last):
            return False
        return self._index.is_withdrawn(last.path)

    def _read(self, usecase: str, date: str) -> list[Pin]:
        if (usecase, date) not in self._known:
            paths = self._store.list(f"pins/{usecase}/{date}/")
            self._known[usecase, date] = [
                decode_record(self._store.get(path), Pin, path, "pin") for path in paths
            ]
        return self._known[usecase, date]
