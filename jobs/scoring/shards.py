"""The folder in which shards wait for one another, and from which a killed call is taken up."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from jobs.scoring.writing import sync
from registry.crashpoints import crashpoint
from registry.errors import UsageError

_IDENTITY, _PUBLISHING = "identity", "publishing"


class Shard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The record of a finished shard; `bytes` are those of its output."""

    rows: int
    quarantined: int
    bytes: int


class Folder:
    """Shards at `path`: an output, perhaps a quarantine, and last the record that makes it count."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def held(self, identity: str) -> Iterator[None]:
        """Hold the folder, emptied first if it holds shards of another question.

        It is gone afterwards, unless the process dies, or fails with shards finished: then another
        call takes them up.

        Raises:
            UsageError: another process holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            self._lock(descriptor)
            self._open(identity)
            try:
                yield
            except BaseException:
                if any(self.path.glob("*.json")):
                    raise
                shutil.rmtree(self.path)
                raise
            shutil.rmtree(self.path)
        finally:
            os.close(descriptor)

    @property
    def is_publishing(self) -> bool:
        """Whether all shards are finished, and the files that people asked for may be there."""
        return (self.path / _PUBLISHING).exists()

    def begin_publishing(self) -> None:
        """Say so."""
        _create(self.path / _PUBLISHING, b"")

    def records(self, count: int) -> list[Shard]:
        """The records of all shards."""
        return [
            msgspec.json.decode(self._record(number).read_bytes(), type=Shard)
            for number in range(count)
        ]

    def find(self, number: int) -> Shard | None:
        """The record of a shard, if it is finished and its output whole."""
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            shard = msgspec.json.decode(self._record(number).read_bytes(), type=Shard)
            if self.output(number).stat().st_size == shard.bytes:
                return shard
        return None

    @contextmanager
    def making(self, number: int) -> Iterator[tuple[Path, Path]]:
        """Where a shard's output and quarantine are written; nothing is left of a failed one."""
        self._record(number).unlink(missing_ok=True)
        paths = self.output(number), self.quarantine(number)
        for path in paths:
            path.unlink(missing_ok=True)
        try:
            yield paths
        except BaseException:
            for path in paths:
                path.unlink(missing_ok=True)
            raise

    def finish(self, number: int, rows: int, quarantined: int) -> Shard:
        """Record a shard whose files are written."""
        output, quarantine = self.output(number), self.quarantine(number)
        for path in (output, *([quarantine] if quarantined else [])):
            sync(path)
        crashpoint("score.before_record")
        shard = Shard(rows, quarantined, output.stat().st_size)
        _create(self._record(number), msgspec.json.encode(shard))
        crashpoint("score.after_record")
        return shard

    def output(self, number: int) -> Path:
        """The scored rows of a shard."""
        return self.path / f"{number:05d}.parquet"

    def quarantine(self, number: int) -> Path:
        """The rows that a shard left out, if it did."""
        return self.path / f"{number:05d}.quarantine.parquet"

    def _record(self, number: int) -> Path:
        return self.path / f"{number:05d}.json"

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                "another process scores into the same file",
                f"it holds {self.path}",
                "Wait for it, or choose another name.",
            ) from None

    def _open(self, identity: str) -> None:
        known = self.path / _IDENTITY
        if known.is_file() and known.read_text() == identity:
            return
        for path in self.path.iterdir():
            path.unlink()
        _create(known, identity.encode())


def _create(path: Path, data: bytes) -> None:
    """A file that is there whole, or not at all."""
    half = path.with_suffix(".half")
    half.write_bytes(data)
    sync(half)
    half.replace(path)
    sync(path.parent)
