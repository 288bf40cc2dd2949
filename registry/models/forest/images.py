"""Images as files of this machine: made once for each model, mapped by every process that serves it.

A file is named by the digest of the model and the format of images. Who needs one that is missing
makes it and puts it there by one rename: of several at once the last wins, with the same bytes. A
mapping outlives the name, so old ones can go at any time.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path

from registry.logs import get_logger
from registry.models.forest.image import FORMAT, build_image, is_intact

log = get_logger(__name__)

#: How many images stay; the ones used last.
KEPT = 32
_MODE = 0o444


def open_image(folder: Path, digest: str, model: bytes) -> mmap.mmap | bytes:
    """The image of `model`, which has the SHA-256 `digest`, from a file in `folder` if that works.

    Raises:
        BadData, Unsupported: see `build_image`.
    """
    path = _path(folder, digest)
    found = _mapped(path)
    if found is not None:
        return found
    image = build_image(model)
    try:
        _write(path, image)
    except OSError as error:
        log.warning("the image of a model is not shared", path=str(path), reason=str(error))
        return image
    _drop_old(folder)
    return _mapped(path) or image


def find_image(folder: Path, digest: str) -> mmap.mmap | None:
    """The image that another process has made of the model with this SHA-256; None: there is none."""
    return _mapped(_path(folder, digest))


def _path(folder: Path, digest: str) -> Path:
    return folder / f"{digest}.v{FORMAT}"


def _mapped(path: Path) -> mmap.mmap | None:
    """The file as a read-only mapping; None where it is missing or not whole."""
    try:
        with path.open("rb") as file:
            mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        os.utime(path)
    except (OSError, ValueError):  # an empty file cannot be mapped
        return None
    if is_intact(memoryview(mapping)):
        return mapping
    mapping.close()
    return None


def _write(path: Path, image: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".incoming-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(image)
        Path(name).chmod(_MODE)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def _drop_old(folder: Path) -> None:
    """Keep the `KEPT` used last. Others may be at it as well."""
    found = []
    for path in folder.iterdir():
        try:
            found.append((path.stat().st_mtime, path))
        except FileNotFoundError:
            continue
    for _, path in sorted(found)[:-KEPT]:
        path.unlink(missing_ok=True)
