"""Batch scoring: Parquet in, Parquet out, in memory that does not grow with the file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from registry.errors import BadData, NotFound, UsageError
from registry.models.bundle import Bundle
from registry.models.predictor import open_checked
from registry.models.protocol import Predictor
from registry.models.tables import check_schema, encode_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from registry.models.signature import Signature

#: Rows held in memory at once: with 30 inputs about 16 MB as a matrix.
BATCH_ROWS = 65_536


def score(
    bundle: Path,
    source: Path,
    target: Path,
    *,
    ids: Sequence[str] = (),
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Score `source` with the bundle in folder `bundle`; write `target`; return the rows.

    `target` gets the columns `ids` of the source, in order, and the model's outputs. It appears
    only when it is complete. `progress` is called with (rows done, rows in all).

    Raises:
        NotFound: the bundle or the source is not there.
        UsageError: `target` exists already, or an id column has the name of an output.
        BadData: the source is not Parquet, is truncated, or its columns do not fit.
        GoldenMismatch: the model does not reproduce its golden rows here.
    """
    loaded = Bundle.read(bundle)
    if target.exists():
        raise UsageError(f"{target} exists", "nothing is overwritten", "Choose another name.")
    predictor = open_checked(loaded, threads)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        rows = _score(loaded.signature, predictor, source, partial, ids, progress)
        partial.replace(target)
    finally:
        predictor.close()
        partial.unlink(missing_ok=True)
    return rows


def _score(
    signature: Signature,
    predictor: Predictor,
    source: Path,
    partial: Path,
    ids: Sequence[str],
    progress: Callable[[int, int], None] | None,
) -> int:
    schema, total = read_schema(source)
    fields = [*_id_fields(schema, ids, signature), *output_fields(signature)]
    done = 0
    with _writer(partial, pa.schema(fields)) as writer:
        for batch in read_batches(source, signature, ids):
            outputs = predictor.predict(encode_table(signature, batch))
            columns = [batch.column(name) for name in ids] + [pa.array(c) for c in outputs.T]
            writer.write_batch(pa.record_batch(columns, schema=pa.schema(fields)))
            done += batch.num_rows
            if progress:
                progress(done, total)
    return done


def read_schema(source: Path) -> tuple[pa.Schema, int]:
    """Schema and number of rows of a Parquet file. Raises NotFound and BadData."""
    with _parquet(source) as file:
        return file.schema_arrow, file.metadata.num_rows


def read_batches(
    source: Path, signature: Signature, ids: Sequence[str], rows: int = BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    """Batches of the inputs and `ids` of a Parquet file.

    Raises:
        NotFound: there is no such file.
        BadData: it is not Parquet, ends early, or its columns do not fit the signature.
    """
    with _parquet(source) as file:
        check_schema(signature, file.schema_arrow)
        columns = list(dict.fromkeys([*ids, *signature.names]))
        try:
            yield from file.iter_batches(rows, columns=columns)
        except MemoryError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise _broken(source, error) from None


def output_fields(signature: Signature) -> list[pa.Field]:
    """The Arrow fields of a model's outputs."""
    return [pa.field(output.name, pa.float64(), nullable=False) for output in signature.outputs]


def _parquet(source: Path) -> pq.ParquetFile:
    try:
        # Read-ahead keeps what it has read until the end: 0.2 kB a row, measured.
        return pq.ParquetFile(source, pre_buffer=False)
    except FileNotFoundError:
        raise NotFound(f"{source} is not there", "", "Check the path.") from None
    except MemoryError:  # Arrow's own is an ArrowException as well
        raise
    except (pa.ArrowException, OSError) as error:
        raise _broken(source, error) from None


def _broken(source: Path, error: Exception) -> BadData:
    first = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
    return BadData(f"{source} cannot be read as Parquet", first, "Write the file again.")


def _id_fields(schema: pa.Schema, ids: Sequence[str], signature: Signature) -> list[pa.Field]:
    missing = [name for name in ids if name not in schema.names]
    if missing:
        raise BadData(
            f"no column {', '.join(missing)} to carry along",
            f"the file has {', '.join(schema.names[:40])}",
            "Name columns of the file.",
        )
    clash = {output.name for output in signature.outputs} & set(ids)
    if clash:
        raise UsageError(f"{', '.join(sorted(clash))} is an output of the model", "", "Rename it.")
    return [schema.field(name) for name in ids]


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    # A dictionary does nothing for probabilities; splitting their bytes does.
    floats = [field.name for field in schema if pa.types.is_floating(field.type)]
    others = [field.name for field in schema if field.name not in floats]
    return pq.ParquetWriter(
        path, schema, compression="zstd", use_dictionary=others, use_byte_stream_split=floats
    )
