"""Stages: Python before and after a model, in `usecases/<name>/stages.py`.

The stage *before* turns a request's columns, bytes among them, into the columns that the model
takes; the one *after* turns the model's outputs into those that clients get. A bundle names either
by use case, name and version, and holds what it made of a few rows. The code always comes from what
is installed.
"""

from __future__ import annotations

import base64
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
import numpy as np

from registry.errors import BadData, PenstockError
from registry.models.offered import offered
from registry.models.places import Place
from registry.models.signature import Column, Encoder, Input, Matrix, Signature
from registry.models.stages import Recorded, StageUse, decoded_row


class Stage(ABC):
    """A stage of your own; derive from it and list the class in `STAGES`.

    Raise `version` when the class computes something else, and list the old class as well while
    models that name it are in use. `inputs` are the columns that it takes: numbers, or bytes, which
    also is how text comes. `outputs` are the names of the columns that it gives: those that the model
    takes or, after the model, those that clients get. `examples` are a few rows of its inputs; what
    the stage makes of them is recorded in the bundle, checked before each start and shown in
    /docs. `rtol` is the largest relative difference that these may show. `batch` is how many rows
    it gets at once at most.

    An instance is made once in each process, without arguments. What that raises becomes BadData.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    inputs: ClassVar[tuple[Input, ...]]
    outputs: ClassVar[tuple[str, ...]]
    examples: ClassVar[Sequence[Mapping[str, Any]]]
    rtol: ClassVar[float] = 1e-9
    batch: ClassVar[int] = 64

    @abstractmethod
    def apply(self, columns: Mapping[str, Any]) -> Mapping[str, Column]:
        """Columns of as many rows, by the names in `outputs`.

        Numbers come as float64 arrays, NaN where one is missing; bytes as lists of memoryviews (None
        where missing), which are valid until this returns. A row's result must not depend on the
        rows beside it.

        Raises:
            BadData: a row cannot be read. Its text goes to the client that sent the row, as 400.
                Whatever else is raised fails the request with 500.
        """


class Ready:
    """A stage that was opened, with the encoding of what it gives."""

    def __init__(self, stage: Stage, encode: Callable[[Mapping[str, Column]], Matrix]) -> None:
        self.batch = stage.batch
        self._stage = stage
        self._encode = encode

    def apply(self, columns: Mapping[str, Any], rows: int) -> Matrix:
        """What the stage gives for `rows` rows, as a matrix (rows, outputs).

        Raises:
            BadData: the stage cannot read a row. Anything else is a fault of the stage.
        """
        made = self._stage.apply(columns)
        try:
            matrix = self._encode(made)
        except BadData as error:
            raise ValueError(f"the model does not take what the stage gave: {error}") from None
        if len(matrix) != rows:
            # A silent misalignment would hand answers to the wrong callers.
            raise ValueError(f"the stage gave {len(matrix)} rows for {rows}")
        return matrix


def own_stages(usecase: str) -> tuple[type[Stage], ...]:
    """The classes that `usecases/<usecase>/stages.py` lists; none where it is absent.

    Raises:
        BadData: the module defines no `STAGES`, or lists what is no such class.
    """
    return offered(usecase, "stages", "STAGES", Stage)


def open_stage(use: StageUse, place: Place, model: Signature) -> Ready:
    """Make the stage that `use` names ready, and check what it makes of the recorded rows.

    Raises:
        BadData: this code lacks that class or that version of it, or it takes or gives other columns
            than when the bundle was made, or other numbers.
    """
    kinds = own_stages(use.usecase)
    for kind in kinds:
        if (kind.name, kind.version) == (use.name, use.version):
            ready = _opened(kind, use, place, model)
            _check(ready, kind, use)
            return ready
    has = ", ".join(f"{kind.name} version {kind.version}" for kind in kinds)
    raise BadData(
        f"the model needs the stage {use}",
        f"this code has {has or 'none'} in usecases/{use.usecase}/stages.py",
        "Use the code that made the bundle, or make the bundle again with this one.",
    )


def newest_stage(name: str) -> type[Stage]:
    """The stage `USECASE/NAME` in its highest version. Raises BadData where there is none."""
    usecase, _, short = name.partition("/")
    named = [kind for kind in own_stages(usecase) if kind.name == short]
    if not named:
        raise BadData(
            f"there is no stage {name!r}", "", "List its class in usecases/<usecase>/stages.py."
        )
    return max(named, key=lambda each: each.version)


def record_stage(name: str, place: Place, model: Signature) -> StageUse:
    """What a bundle holds of the stage `USECASE/NAME`, in its highest version.

    Raises:
        BadData: there is no such stage, its columns do not fit the model, or it fails on its examples.
    """
    kind = newest_stage(name)
    usecase, _, short = name.partition("/")
    rows = [dict(row) for row in kind.examples]
    nothing = Recorded((), (), kind.rtol)
    use = StageUse(usecase, short, kind.version, kind.inputs, kind.outputs, nothing)
    _check_fit(use, place, model)
    ready = _opened(kind, use, place, model)
    made = _made(ready, use, rows)
    outputs = tuple(
        tuple(None if math.isnan(value) else value for value in row) for row in made.tolist()
    )
    kept = tuple({name: _text(value) for name, value in row.items()} for row in rows)
    return msgspec.structs.replace(use, recorded=Recorded(kept, outputs, kind.rtol))


def _check_fit(use: StageUse, place: Place, model: Signature) -> None:
    """Raise BadData where a stage does not give what the model takes, or take what it gives."""
    if place == "pre":
        wrong = sorted({*use.outputs} ^ {*model.names})
    else:
        gives = {output.name for output in model.outputs}
        wrong = sorted({member.name for member in use.inputs} ^ gives)
    if wrong:
        raise BadData(
            f"the stage {use} does not fit the model",
            f"only one of the two has {', '.join(wrong)}",
            "Name its columns as the model does.",
        )


def _opened(kind: type[Stage], use: StageUse, place: Place, model: Signature) -> Ready:
    if (kind.inputs, kind.outputs) != (use.inputs, use.outputs):
        raise BadData(
            f"the stage {use} takes or gives other columns than when the bundle was made",
            "",
            "Raise the version of a stage that changes, and keep the old class listed.",
        )
    try:
        stage = kind()
    except (PenstockError, MemoryError):
        raise
    except Exception as error:
        raise BadData(
            f"the stage {use} cannot start", f"{type(error).__name__}: {error}"
        ) from error
    if place == "pre":
        return Ready(stage, Encoder(model).encode_columns)
    return Ready(stage, lambda columns: _stacked(columns, use.outputs))


def _stacked(columns: Mapping[str, Column], names: Sequence[str]) -> Matrix:
    return np.column_stack([np.asarray(columns[name], np.float64) for name in names])


def _check(ready: Ready, kind: type[Stage], use: StageUse) -> None:
    recorded = use.recorded
    got = _made(ready, use, [decoded_row(use.inputs, row) for row in recorded.rows])
    want = np.array(
        [[math.nan if value is None else value for value in row] for row in recorded.outputs]
    )
    if got.shape != want.shape or not np.allclose(
        got, want, rtol=kind.rtol, atol=1e-15, equal_nan=True
    ):
        raise BadData(
            f"the stage {use} gives other numbers than when the bundle was made",
            f"{got[0].tolist()} for its first example, recorded was {want[0].tolist()}",
            "Raise the version of a stage that changes, and keep the old class listed.",
        )


def _made(ready: Ready, use: StageUse, rows: Sequence[Mapping[str, Any]]) -> Matrix:
    """What a stage makes of rows, each given as a mapping with every input."""
    if not rows:
        raise BadData(f"the stage {use} has no examples", "", "Give it one row or more.")
    columns = {member.name: _column(member, rows) for member in use.inputs}
    try:
        return ready.apply(columns, len(rows))
    except (BadData, MemoryError):
        raise
    except Exception as error:
        raise BadData(
            f"the stage {use} fails on its examples", f"{type(error).__name__}: {error}"
        ) from error


def _column(member: Input, rows: Sequence[Mapping[str, Any]]) -> Any:
    values = [row[member.name] for row in rows]
    if member.type == "bytes":
        return [None if value is None else memoryview(value) for value in values]
    return np.array(values, np.float64)


def _text(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, (bytes, bytearray)) else value
