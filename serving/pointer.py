"""The pointer: the last head whose model served, kept on this machine.

With it the service starts although the heads cannot be reached or point at something broken.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from registry.aliases import Head
from registry.artifacts.manifest import Reference
from registry.artifacts.records import decode_record, encode_record
from registry.errors import BadData
from registry.logs import get_logger

log = get_logger(__name__)


class Pointers:
    """Pointers in a folder, one small file for each alias."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, model: str, alias: str) -> Path:
        return self._folder / f"{model}@{alias}.json"

    def read(self, model: str, alias: str) -> Head | None:
        """The last good head; None if there is none, or only bytes that are not one."""
        head = _decoded(self._path(model, alias))
        return head if head and (head.model, head.alias) == (model, alias) else None

    def all(self) -> list[Reference]:
        """What any service of this machine and environment would start from."""
        found = (_decoded(path) for path in self._folder.glob("[!.]*.json"))
        return [head.live for head in found if head is not None and head.live is not None]

    def save(self, head: Head) -> None:
        """Replace the pointer: all or nothing, and durable. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=".pointer-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(encode_record(head))
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self._path(head.model, head.alias))
        except BaseException:
            os.unlink(name)
            raise
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _decoded(path: Path) -> Head | None:
    try:
        return decode_record(path.read_bytes(), Head, str(path), "head")
    except FileNotFoundError:
        return None
    except (BadData, OSError) as error:
        log.warning("pointer ignored", path=str(path), reason=str(error))
        return None
