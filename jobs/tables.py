"""Parquet as jobs write and read it: the same table gives the same bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from registry.errors import BadData

#: Fixed, so that the row groups of a table do not depend on a library's default.
ROW_GROUP = 131_072


def write_table(path: Path, table: pa.Table) -> None:
    """Write `table`, without the metadata of whoever made it.

    Floats are byte-split instead of put in a dictionary, which for measured values only grows.
    """
    floats = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    others = [name for name in table.column_names if name not in floats]
    pq.write_table(
        table.replace_schema_metadata(None).combine_chunks(),
        path,
        row_group_size=ROW_GROUP,
        compression="zstd",
        use_dictionary=others,
        use_byte_stream_split=floats,
        store_schema=True,
    )


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table of an input artifact.

    Raises:
        BadData: there is no such file, it is not Parquet or ends early, or columns are missing.
    """
    with open_table(path, columns) as file:
        return file.read(columns=list(columns) if columns is not None else None)


@contextlib.contextmanager
def open_table(path: Path, columns: Sequence[str] | None = None) -> Iterator[pq.ParquetFile]:
    """A table of an input artifact, to be read in parts. Raises BadData like `read_table`."""
    try:
        with pq.ParquetFile(path, buffer_size=1 << 16) as file:
            missing = [name for name in columns or () if name not in file.schema_arrow.names]
            if missing:
                raise BadData(
                    f"{path.name} lacks columns: {', '.join(missing)}",
                    f"it has {', '.join(file.schema_arrow.names[:40])}",
                    "Raise the version of the step that writes it, and run again.",
                )
            yield file
    except MemoryError:  # Arrow's own is an ArrowException as well
        raise
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0][:300]
        raise BadData(
            f"{path} cannot be read as Parquet", reason, "Retract the artifact."
        ) from None


def read_tables(folder: Path) -> dict[str, pa.Table]:
    """Every `<name>.parquet` in `folder`, by name. Raises BadData like `read_table`."""
    tables = {path.stem: read_table(path) for path in sorted(folder.glob("*.parquet"))}
    if not tables:
        raise BadData(f"{folder} holds no tables", "expected *.parquet", "Ingest the day again.")
    return tables
