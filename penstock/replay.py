"""A request log asked of another model: how its answers differ from those that were given."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from penstock.loaded import Model
from registry import requestlog as names
from registry.errors import BadData, NotFound, UsageError
from registry.models.signature import Matrix, Signature
from registry.models.tables import encode_table

#: Rows that are scored at once.
ROWS = 32_768
QUANTILES = (0.5, 0.9, 0.99, 0.999)
Values = NDArray[np.float64]


class Worst(NamedTuple):
    """A row whose answers differ much: how far, which, and what was answered and would be."""

    difference: float
    request: str
    row: int
    output: str
    logged: float
    replayed: float


@dataclass
class Replayed:
    """What came of it. `shifts[output]` is replayed minus logged, of each row that was answered."""

    tolerance: float
    most: int
    files: int = 0
    skipped: int = 0
    versions: set[str] = field(default_factory=set)
    requests: set[str] = field(default_factory=set)
    shifts: dict[str, list[Values]] = field(default_factory=dict)
    #: A heap whose first is the least of the worst.
    worst: list[Worst] = field(default_factory=list)

    def add(self, output: str, logged: Values, replayed: Values, rows: pa.Table) -> None:
        """Compare one output of a part of the rows. Two answers that are no number are equal."""
        with np.errstate(invalid="ignore"):
            shift = replayed - logged
        shift[(replayed == logged) | (np.isnan(replayed) & np.isnan(logged))] = 0.0
        shift[np.isnan(shift)] = np.inf
        self.shifts.setdefault(output, []).append(shift)
        far = np.abs(shift)
        for i in np.argsort(-far, kind="stable")[: self.most]:
            if far[i] > 0:
                request, row = rows[names.REQUEST][i].as_py(), rows[names.ROW][i].as_py()
                here = Worst(
                    float(far[i]), request, row, output, float(logged[i]), float(replayed[i])
                )
                heapq.heappush(self.worst, here)
        while len(self.worst) > self.most:
            heapq.heappop(self.worst)

    @property
    def rows(self) -> int:
        """Rows that were compared."""
        return sum(map(len, next(iter(self.shifts.values()), [])))

    @property
    def changed(self) -> float:
        """Share of the rows of which an output differs by more than `tolerance`."""
        if not self.rows:
            return 0.0
        columns = [np.concatenate(parts) for parts in self.shifts.values()]
        far = np.max(np.abs(np.column_stack(columns)), axis=1)
        return float(np.mean(far > self.tolerance))

    def outputs(self) -> list[dict[str, Any]]:
        """For each output how far the answers are apart, and which way."""
        return [_told(name, np.concatenate(parts)) for name, parts in self.shifts.items()]


def _told(name: str, shift: Values) -> dict[str, Any]:
    far = np.abs(shift)
    quantiles = np.quantile(far, QUANTILES, method="higher")
    return {
        "output": name,
        "max": float(far.max()),
        "mean": float(far.mean()),
        "shift": float(shift.mean()),
        "quantiles": {
            f"{q:g}": float(value) for q, value in zip(QUANTILES, quantiles, strict=True)
        },
    }


def replay(log: Path, model: Model, *, tolerance: float = 0.0, most: int = 10) -> Replayed:
    """Score the rows of `log` (a file or a folder) that were answered with `model`, and compare.

    Raises:
        NotFound: there is no log.
        UsageError: it is of several models, and none of them is the one that `model` belongs to.
        BadData: a file is no part of a request log, or does not hold what `model` takes or gives.
    """
    found = Replayed(tolerance, most)
    for path in _chosen(_files(log), model.artifact.manifest.model or ""):
        file = _open(path)
        _check(path, file.schema_arrow, model.signature)
        found.files += 1
        for batch in file.iter_batches(batch_size=ROWS):
            _compare(pa.table(batch), model, found)
    if not found.rows:
        raise NotFound(f"{log} holds no row that was answered", f"{found.skipped} were not")
    return found


def _compare(rows: pa.Table, model: Model, found: Replayed) -> None:
    answered = rows.filter(pc.equal(rows[names.STATUS], 200))
    found.skipped += len(rows) - len(answered)
    if not len(answered):
        return
    found.versions |= set(pc.unique(answered[names.VERSION].combine_chunks()).to_pylist())
    found.requests |= set(pc.unique(answered[names.REQUEST]).to_pylist())
    result: Matrix = model.predictor.predict(encode_table(model.signature, answered))
    for place, output in enumerate(model.signature.outputs):
        logged = np.array(answered[names.OUTPUT + output.name], dtype=np.float64)
        found.add(output.name, logged, result[:, place], answered)


def _files(log: Path) -> list[Path]:
    files = [log] if log.is_file() else names.log_files(log)
    if not files:
        raise NotFound(
            f"{log} is no request log",
            "there is no file of one" if log.is_dir() else "there is no such file or folder",
            "Serve with PENSTOCK_SERVING_REQUEST_LOG above 0; the files lie in var/requests.",
        )
    return files


def _chosen(files: Sequence[Path], wanted: str) -> Iterator[Path]:
    """The files of one model: of the only one there is, or of `wanted`."""
    models = {path: path.parent.parent.name for path in files}
    known = sorted(set(models.values()))
    if len(known) > 1 and wanted not in known:
        raise UsageError(
            f"the log is of {', '.join(known)}",
            f"the model to replay it against is of {wanted}",
            "Name the folder of one model.",
        )
    return (path for path in files if len(known) == 1 or models[path] == wanted)


def _open(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise BadData(f"{path} cannot be read as Parquet", str(error)) from None
    if names.SIGNATURE not in (file.schema_arrow.metadata or {}):
        raise BadData(f"{path} is no file of a request log", "it names no signature of a model")
    return file


def _check(path: Path, schema: pa.Schema, signature: Signature) -> None:
    """Raise BadData unless the file holds all that the model takes, and the outputs that it gives."""
    omitted = set(json.loads(schema.metadata[names.OMITTED]))
    kept_back = [name for name in signature.names if name in omitted]
    if kept_back:
        raise BadData(
            f"the log does not hold {', '.join(kept_back)}, which the model takes",
            "PENSTOCK_SERVING_REQUEST_LOG_OMIT kept it out"
            if len(kept_back) == 1
            else "PENSTOCK_SERVING_REQUEST_LOG_OMIT kept them out",
            "Replay it against a model that does without, or log it.",
        )
    missing = [name for name in signature.names if name not in schema.names]
    if missing:
        raise BadData(
            f"the model takes {', '.join(missing)}, which the model of {path} did not",
            "their signatures differ",
            "Replay it against a model that takes the same inputs, or fewer.",
        )
    logged = [
        name.removeprefix(names.OUTPUT) for name in schema.names if name.startswith(names.OUTPUT)
    ]
    given = [output.name for output in signature.outputs]
    if sorted(logged) != sorted(given):
        raise BadData(
            f"the model gives {', '.join(given)}, the model of {path} gave {', '.join(logged)}",
            "their signatures differ",
        )
