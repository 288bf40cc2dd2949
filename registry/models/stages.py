"""What a bundle says of its stages: Python before and after the model, which it names by version.

The code itself is in `usecases/<name>/stages.py`; see `registry.models.stage`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from registry.errors import BadData
from registry.models.places import Place
from registry.models.signature import Input, Output, Signature


class Recorded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows of a stage's inputs, bytes in base64, and the numbers that came of each (null is NaN)."""

    rows: tuple[dict[str, Any], ...]
    outputs: tuple[tuple[float | None, ...], ...]
    rtol: float


class StageUse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stage as a bundle names it: `STAGES` of the use case, by name and version."""

    usecase: str
    name: str
    version: int
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    recorded: Recorded

    def __post_init__(self) -> None:
        if any(member.type == "category" for member in self.inputs):
            raise BadData(
                f"the stage {self} takes a category", "text comes as bytes", "Declare it as bytes."
            )

    def __str__(self) -> str:
        return f"{self.usecase}/{self.name} version {self.version}"

    @property
    def identity(self) -> tuple[str, str, int]:
        """Equal for two uses of the same code."""
        return self.usecase, self.name, self.version

    def example(self) -> dict[str, Any]:
        """The first recorded row, with bytes as bytes."""
        return decoded_row(self.inputs, self.recorded.rows[0])


class Stages(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The stages of a bundle: before the model and after it."""

    pre: StageUse | None = None
    post: StageUse | None = None

    def at(self, place: Place) -> StageUse | None:
        """The stage at this place."""
        return self.pre if place == "pre" else self.post

    @property
    def places(self) -> tuple[Place, ...]:
        """Where there is one."""
        places: tuple[Place, ...] = ("pre", "post")
        return tuple(place for place in places if self.at(place))

    def public(self, model: Signature) -> Signature:
        """What clients send and get, where `model` is what the model takes and gives."""
        outputs = tuple(map(Output, self.post.outputs)) if self.post else model.outputs
        return Signature(self.pre.inputs if self.pre else model.inputs, outputs)


def decoded_row(inputs: Sequence[Input], row: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded row, with its bytes decoded."""
    binary = {member.name for member in inputs if member.type == "bytes"}
    return {
        name: base64.b64decode(value) if name in binary and value is not None else value
        for name, value in row.items()
    }


def width_of(inputs: Sequence[Input]) -> int:
    """Columns of the matrix in which rows of these inputs travel: two for bytes, which lie elsewhere."""
    return sum(2 if member.type == "bytes" else 1 for member in inputs)
