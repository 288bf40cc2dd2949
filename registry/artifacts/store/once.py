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
from pathlib import Path

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
    for left in reversed(range(_TRIES)):
        try:
            store.create(key, data)
            return Created(True, data)
        except StoreUnwritable:
            raise
        except StoreError:  # AlreadyExists is one: S3 answers so too while a rival still writes.
            found = _standing(store, key, data)
            if found:
                return found
            if not left:
                raise
            sleep(_delay(left))
    raise AssertionError("unreachable")


def create_file_once(
    store: Store, key: str, path: Path, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Create `key`, which nobody else writes, from the file at `path`; verify it afterwards.

    Raises:
        StoreError: the store failed every time.
    """
    for left in reversed(range(_TRIES)):
        try:
            store.create_from(key, path)
            return
        except StoreUnwritable:
            raise
        except StoreError as error:
            # What exists is the caller's own, by a request whose reply was lost.
            if isinstance(error, AlreadyExists) and _is_there(store, key):
                return
            if not left:
                raise
            sleep(_delay(left))


def _delay(left: int) -> float:
    """Seconds before the next try, when `left` are left: each twice the one before."""
    return float(_FIRST_DELAY * 2 ** (_TRIES - 1 - left))


def _is_there(store: Store, key: str) -> bool:
    try:
        store.size(key)
    except (NotFound, StoreError):
        return False
    return True


def _standing(store: Store, key: str, data: bytes) -> Created | None:
    try:
        standing = store.get(key)
    except (NotFound, StoreError):
        return None
    return Created(standing == data, standing)
