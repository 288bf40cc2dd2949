"""The first rows of a Parquet file that a model could be asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from registry.errors import BadData, NotFound
from registry.models.tables import check_schema

if TYPE_CHECKING:
    from pathlib import Path

    from registry.models.signature import Signature


def first_rows(path: Path, signature: Signature, count: int) -> list[dict[str, Any]]:
    """Up to `count` rows of the inputs, as they stand.

    Raises:
        NotFound: there is no such file.
        BadData: it is not Parquet, ends early, or its columns do not fit the signature.
    """
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            check_schema(signature, file.schema_arrow)
            for batch in file.iter_batches(count, columns=list(signature.names)):
                rows: list[dict[str, Any]] = batch.select(list(signature.names)).to_pylist()
                return rows
    except FileNotFoundError:
        raise NotFound(f"{path} is not there", "", "Check the path.") from None
    except MemoryError:  # Arrow's own is an ArrowException as well
        raise
    except (pa.ArrowException, OSError) as error:
        first = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise BadData(f"{path} cannot be read as Parquet", first, "Write the file again.") from None
    return []
