"""Does this store honour create-if-absent? Some servers accept the condition and ignore it."""

from __future__ import annotations

from registry.artifacts.store.protocol import AlreadyExists, Store
from registry.errors import Refused

#: One small object that stays; a probe needs no deletion.
PROBE = "probe/create-if-absent"


def require_conditional_create(store: Store) -> None:
    """Create the probe object twice; the second time must fail.

    Raises:
        Refused: the second write succeeded, so two writers could both believe that they won.
    """
    if _creates(store) and _creates(store):
        raise Refused(
            f"the store {store.url} cannot be used",
            "it overwrites objects although it was asked to create them only if absent",
            "Use a server that honours If-None-Match on PUT (AWS S3, Ceph, MinIO, versitygw).",
        )


def _creates(store: Store) -> bool:
    try:
        store.create(PROBE, b"penstock probes whether this store honours If-None-Match\n")
    except AlreadyExists:
        return False
    return True
