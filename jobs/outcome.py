"""What a job hands back about the files it wrote: recorded in the artifact's manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.errors import BadData

#: Folders of input artifacts by role, as the runner fetched and verified them.
Inputs = Mapping[str, Sequence[Path] | Path]
Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """Numbers worth keeping, the signature of a model, and how many rows were written.

    `input_bytes` is how much was read; the entry point fills it in.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    signature: dict[str, Any] | None = None
    rows: int | None = None
    input_bytes: int = 0


def folders(inputs: Inputs, role: str) -> list[Path]:
    """The input folders of `role`, in order. Raises BadData where there is none."""
    found = inputs.get(role, ())
    paths = [found] if isinstance(found, Path) else list(found)
    if not paths:
        raise BadData(
            f"the job got no input {role!r}",
            f"it got {', '.join(sorted(inputs)) or 'nothing'}",
            "Check the window: it may lie before the first day of the source.",
        )
    return paths


def folder(inputs: Inputs, role: str) -> Path:
    """The single input folder of `role`. Raises BadData where there is none, or several."""
    paths = folders(inputs, role)
    if len(paths) > 1:
        raise BadData(f"the job got {len(paths)} inputs {role!r}", "it takes one", "Pass one.")
    return paths[0]
