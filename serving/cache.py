"""The cache: copies of artifacts on this machine, of which the least used go first.

A copy is a folder named by its content and a manifest beside them, `manifests/<version>.json`. What
is in use never goes: what this service says it needs, and what any service of this machine would
start from.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from registry.artifacts.manifest import Manifest, Reference, decode
from registry.errors import BadData, StoreUnwritable
from registry.logs import get_logger

log = get_logger(__name__)
#: Bytes that a fetch leaves free for everybody else on the disk.
HEADROOM = 64 << 20

#: References of what must stay.
InUse = Callable[[], Iterable[Reference]]


class Cache:
    """The copies below `folder`; up to `keep` of those that nothing uses stay."""

    def __init__(self, folder: Path, keep: int = 5) -> None:
        self.folder = folder
        #: More that must stay; see `protect`.
        self._in_use: list[InUse] = []
        self._keep = keep

    def protect(self, in_use: InUse) -> None:
        """Ask `in_use` before anything goes."""
        self._in_use.append(in_use)

    def touch(self, manifest: Path) -> None:
        """Note that a copy was used just now."""
        try:
            os.utime(manifest)
        except OSError as error:
            log.debug("use not noted", reason=str(error))

    def make_room(self, size: int) -> None:
        """See to it that `size` bytes can be written; copies that nothing uses go for them.

        Raises:
            StoreUnwritable: that is not enough.
        """
        unused = self._unused()
        while (free := self._free()) < size + HEADROOM:
            if not unused:
                raise StoreUnwritable(
                    f"the disk of {self.folder} is too full for an artifact of {size} bytes",
                    f"{free} bytes are free, and {HEADROOM} are left for others",
                    "Free some space, or set PENSTOCK_VAR to a larger disk.",
                )
            self._remove(unused.pop(0))

    def trim(self) -> None:
        """Let copies go that nothing uses, but for the `keep` used last."""
        unused = self._unused()
        for path in unused[: max(0, len(unused) - self._keep)]:
            self._remove(path)

    def _free(self) -> int:
        existing = next(p for p in (self.folder, *self.folder.parents) if p.exists())
        return shutil.disk_usage(existing).free

    def _unused(self) -> list[Path]:
        """Manifests of copies that nothing uses, the least used first."""
        used = {reference.version for ask in self._in_use for reference in ask()}
        paths = self.folder.glob("manifests/[!.]*.json")
        return sorted((p for p in paths if p.stem not in used), key=_used_at)

    def _remove(self, path: Path) -> None:
        """The manifest goes first: without it, the files are no copy."""
        content = _content(path)
        path.unlink(missing_ok=True)
        shared = {_content(other) for other in self.folder.glob("manifests/[!.]*.json")}
        if content and content not in shared:
            shutil.rmtree(self.folder / content, ignore_errors=True)
        log.info("copy of an artifact removed", version=path.stem)


def _used_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _content(path: Path) -> str:
    try:
        manifest: Manifest = decode(path.read_bytes(), str(path))
    except (OSError, BadData):
        return ""
    return manifest.content
