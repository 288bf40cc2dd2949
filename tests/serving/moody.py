"""Bundles of `moods/team/moody`, and the environment of a service that knows that use case."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec

from registry.models.bundle import write_bundle
from registry.models.golden import Golden
from registry.models.own import Own
from registry.models.signature import Signature
from tests.serving import models
from tests.serving.conftest import ROWS

_MOODS = Path(__file__).parent / "moods"
_ROOT = Path(__file__).parents[2]

#: What a service needs to find the use case.
ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join(
        filter(None, [str(_MOODS), str(_ROOT), os.environ.get("PYTHONPATH")])
    )
}


def moody(
    folder: Path, answer: float, signature: Signature = models.SIGNATURE, **content: Any
) -> Path:
    """Write a bundle that answers `answer` to everything, in the mood that `content` says."""
    folder.mkdir(parents=True)
    write_bundle(
        folder, flavor="python", model=json.dumps({"answer": answer, **content}).encode(),
        link=None, own=Own("moody", "moody", 1, "json"), signature=signature,
        golden=Golden(tuple(ROWS[:3]), ((answer,),) * 3, 1e-9),
    )  # fmt: skip
    return folder


def stricter(name: str) -> Signature:
    """The usual signature, but the input `name` may not be missing."""
    inputs = [
        msgspec.structs.replace(member, missing="error" if member.name == name else "nan")
        for member in models.SIGNATURE.inputs
    ]
    return Signature(tuple(inputs), models.SIGNATURE.outputs)
