"""The files of an artifact: listed, digested and verified in bounded memory."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from registry.artifacts.manifest import File
from registry.artifacts.store.protocol import Store, is_object_key
from registry.errors import BadData, Corrupt, StoreUnwritable

_ANEW = "Retract the artifact (`penstock retract KEY --why …`) and run again to make it anew."
_AGAIN = "Nothing was committed. Run again; check the store's disk or network if it comes back."


def digest_file(path: Path) -> str:
    """Hex sha256 of the file at `path`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_files(folder: Path) -> list[File]:
    """The files below `folder` with sizes and digests, sorted by path.

    Raises:
        BadData: the folder is empty, or holds something that is no plain file.
    """
    found = sorted(path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
    odd = [path for path in found if not _is_plain(path, folder)]
    if odd or not found:
        raise BadData(
            f"the output of the step cannot be committed: {folder}",
            f"{odd[0].name!r} is not a plain file with a plain name"
            if odd
            else "the step wrote no file",
            "Make the step write plain files into its output folder.",
        )
    return [
        File(path.relative_to(folder).as_posix(), path.stat().st_size, digest_file(path))
        for path in found
    ]


def _is_plain(path: Path, folder: Path) -> bool:
    named = is_object_key(path.relative_to(folder).as_posix())
    return named and path.is_file() and not path.is_symlink()


def is_intact(path: Path, expected: File) -> bool:
    """Whether the file at `path` has the size and digest of `expected`."""
    return (
        path.is_file()
        and path.stat().st_size == expected.size
        and digest_file(path) == expected.sha256
    )


def verify_file(path: Path, expected: File, where: str, todo: str = _ANEW) -> None:
    """Raise Corrupt unless the file at `path` has the size and digest of `expected`."""
    if is_intact(path, expected):
        return
    size = path.stat().st_size if path.is_file() else None
    found = "it is missing" if size is None else f"{size} bytes where {expected.size} are promised"
    raise Corrupt(
        f"{where}{expected.path} is damaged",
        found if size != expected.size else "its sha256 differs from the manifest's",
        todo,
    )


def verify_stored(store: Store, prefix: str, expected: File) -> None:
    """Read the object back and raise Corrupt unless it is what was meant to be written."""
    local = store.local_path(prefix + expected.path)
    if local is not None:
        verify_file(local, expected, prefix, _AGAIN)
        return
    try:
        with tempfile.TemporaryDirectory(prefix="penstock-verify-") as folder:
            copy = Path(folder) / "object"
            store.download(prefix + expected.path, copy)
            verify_file(copy, expected, prefix, _AGAIN)
    except OSError as error:
        raise StoreUnwritable(
            f"{prefix}{expected.path} could not be read back",
            f"{tempfile.gettempdir()}: {os.strerror(error.errno or 0)}",
            "Free some space there, or set TMPDIR to a folder that has it, then run again.",
        ) from error
