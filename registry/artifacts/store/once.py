"""Create an object exactly once, although the reply to the request may be lost.

A request can succeed while its reply never arrives (a broken connection, a client library that
retries by itself). The retry then finds "already exists". What is written here carries a write
id, so that reading back tells one's own object from another writer's.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from registry.artifacts.store.protocol import AlreadyExists, Store
from registry.errors import NotFound, StoreError, StoreUnwritable

_TRIES = 4
_FIRST_DELAY = 0.1


@dataclass(frozen=True)
class Created:
    """The object as it stands now, and whether it is the caller's own."""

    mine: bool
    data: bytes


def write_id() -> str:
    """A fresh id to put into what is written."""
    return uuid.uuid4().hex


def create_once(
    store: Store, key: str, data: bytes, sleep: Callable[[float], None] = time.sleep
) -> Created:
    """Create `key` with `data` (which holds a write id), or learn who was first.

    Raises:
        StoreError: the store failed and it could not be learnt whether the object is there.
    """
    for attempt in range(_TRIES):
        try:
            store.create(key, data)
            return Created(True, data)
        except AlreadyExists:
            return _standing(store, key, data)
        except StoreUnwritable:
            raise
        except StoreError:
            found = _found_after_failure(store, key, data)
            if found:
                return found
            if attempt == _TRIES - 1:
                raise
            sleep(_FIRST_DELAY * 2**attempt)
    raise AssertionError("unreachable")


def _standing(store: Store, key: str, data: bytes) -> Created:
    standing = store.get(key)
    return Created(standing == data, standing)


def _found_after_failure(store: Store, key: str, data: bytes) -> Created | None:
    try:
        return _standing(store, key, data)
    except (NotFound, StoreError):
        return None
