"""What is scored: Parquet files here or in S3, and the row groups in them."""

from __future__ import annotations

import contextlib
import glob
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.scoring.ranges import RangeFile
from registry.artifacts.store import Store, open_source
from registry.errors import BadData, NotFound

if TYPE_CHECKING:
    from registry.settings import Settings

_MAGIC = frozenset("*?[")


@dataclass(frozen=True)
class Source:
    """One Parquet file, named as people are told of it: a `path`, or a `key` of a `store`."""

    name: str
    path: Path | None = None
    store: Store | None = None
    key: str = ""

    @contextmanager
    def open(self) -> Iterator[tuple[pq.ParquetFile, RangeFile | None]]:
        """The file, and what it is read through if that is far away.

        Raises:
            NotFound, BadData, StoreError: now, or whatever reading comes to within the context.
        """
        distant = None if self.store is None else RangeFile(self.store, self.key)
        with contextlib.ExitStack() as stack:
            stack.enter_context(reading(self.name))
            if distant is not None:
                stack.enter_context(contextlib.closing(distant))
            # Arrow's own read-ahead keeps what it has read until the end: 0.2 kB a row, measured.
            file = pq.ParquetFile(distant or self.path, pre_buffer=False)
            yield stack.enter_context(file), distant

    def mark(self) -> str:
        """What changes when the file does: its size, and where it is known when it was written."""
        if self.path is None:
            assert self.store is not None
            return str(self.store.size(self.key))
        with reading(self.name):
            found = self.path.stat()
        return f"{found.st_size} {found.st_mtime_ns}"


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Tells what Arrow and the system say about `name` as errors of penstock."""
    try:
        yield
    except MemoryError:  # Arrow's own is an ArrowException as well
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{name} is not there", "", "Check the path.") from None
    except (pa.ArrowException, OSError) as error:
        first = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise BadData(f"{name} cannot be read as Parquet", first, "Write the file again.") from None


@dataclass(frozen=True)
class Piece:
    """One row group: the file it is in, its number, and which rows of the file it holds."""

    source: Source
    group: int
    first: int
    rows: int


def find_sources(names: Sequence[str], settings: Settings) -> list[Source]:
    """The Parquet files that `names` mean: files, folders or patterns, here or `s3://…`.

    A folder stands for every `*.parquet` below it. In the order of `names`, sorted within each.

    Raises:
        NotFound: a name means no file.
    """
    found = []
    for name in names:
        each = _in_store(name, settings) if "://" in name else _here(name)
        if not each:
            raise NotFound(
                f"{name} is not there", "no Parquet file is found by that name", "Check the path."
            )
        found += each
    return found


def pieces_of(sources: Iterable[Source]) -> tuple[list[Piece], pa.Schema]:
    """Every row group of the files, in order, and the schema of the first file.

    Raises:
        NotFound, BadData: a file is not there, or is not Parquet.
    """
    pieces: list[Piece] = []
    schema: pa.Schema | None = None
    for source in sources:
        with source.open() as (file, _):
            schema = schema or file.schema_arrow
            first = 0
            for group in range(file.metadata.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                pieces.append(Piece(source, group, first, rows))
                first += rows
    assert schema is not None, "there is at least one source"
    return pieces, schema


def split(pieces: Sequence[Piece], shards: int) -> list[list[Piece]]:
    """The pieces in `shards` runs of about as many rows each, in order; some may be empty."""
    total = sum(piece.rows for piece in pieces)
    found: list[list[Piece]] = [[] for _ in range(shards)]
    before = 0
    for piece in pieces:
        middle = before + piece.rows // 2
        found[middle * shards // total if total else 0].append(piece)
        before += piece.rows
    return found


def _here(name: str) -> list[Source]:
    path = Path(name)
    if path.is_dir():
        paths = sorted(each for each in path.rglob("*.parquet") if each.is_file())
    elif not path.exists() and _MAGIC & set(name):
        paths = [Path(each) for each in sorted(glob.glob(name, recursive=True))]  # noqa: PTH207
    else:
        paths = [path]
    return [Source(str(each), path=each) for each in paths]


def _in_store(name: str, settings: Settings) -> list[Source]:
    """The objects at the address: the one of that key, those below it, or those that match."""
    scheme, _, rest = name.partition("://")
    bucket, _, key = rest.partition("/")
    store = open_source(f"{scheme}://{bucket}", settings)
    if _MAGIC & set(key):
        fixed = key[: min(key.index(sign) for sign in _MAGIC if sign in key)]
        found = [k for k in store.list(fixed.rpartition("/")[0]) if fnmatchcase(k, key)]
    elif key.endswith(".parquet"):
        found = [key]
    else:
        found = [k for k in store.list(key) if k.endswith(".parquet")]
    return [Source(f"{scheme}://{bucket}/{k}", store=store, key=k) for k in found]
