"""Does this store honour create-if-absent? Some servers accept the condition and ignore it."""

from __future__ import annotations

from registry.artifacts.store.protocol import AlreadyExists, Store
from registry.errors import NotFound, Refused, StoreUnwritable

#: One small object that stays; a probe needs no deletion.
PROBE = "probe/create-if-absent"


def require_conditional_create(store: Store) -> None:
    """Create the probe object twice; the second time must fail.

    Raises:
        Refused: the second write succeeded, so two writers could both believe that they won.
        StoreError: the store can neither be written nor read.
    """
    try:
        ignored = _creates(store) and _creates(store)
    except StoreUnwritable:
        _require_reading(store)  # Whoever may only read, a service say, cannot overwrite either.
        return
    if ignored:
        raise Refused(
            f"the store {store.url} cannot be used",
            "it overwrites objects although it was asked to create them only if absent",
            "Use a server that honours If-None-Match on PUT (AWS S3, Ceph, MinIO, versitygw).",
        )


def _require_reading(store: Store) -> None:
    try:
        store.get(PROBE)
    except NotFound:
        return


def _creates(store: Store) -> bool:
    try:
        store.create(PROBE, b"penstock probes whether this store honours If-None-Match\n")
    except AlreadyExists:
        return False
    return True
