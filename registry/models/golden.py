"""Golden rows: a few inputs with the outputs that the model gave when it was made.

They are checked before a model takes traffic. A library of another version, a processor with
other instructions or a wrong feature order shows here, not in front of users.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from registry.errors import BadData, Refused
from registry.models.signature import Encoder, Signature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from registry.models.protocol import Predictor

#: Largest relative difference by which an output may differ from its golden value. Both
#: libraries were measured bit-equal between runs and batch sizes; another processor may round
#: the sigmoid or the sum otherwise.
TOLERANCES = {"lightgbm": 1e-12, "catboost": 1e-9, "python": 1e-9, "identity": 0.0}


class GoldenMismatch(Refused):
    """A model does not give the outputs that were recorded when it was made."""

    kind = "golden-mismatch"


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows of raw inputs (null is missing) and the expected outputs of each."""

    rows: tuple[dict[str, Any], ...]
    outputs: tuple[tuple[float, ...], ...]
    rtol: float
    atol: float = 1e-15

    def __post_init__(self) -> None:
        if not self.rows or len(self.rows) != len(self.outputs):
            raise BadData("golden.json is malformed", "it needs outputs for at least one row")


def make_golden(
    predictor: Predictor, signature: Signature, rows: Sequence[Mapping[str, Any]], flavor: str
) -> Golden:
    """Record what `predictor` gives for `rows`, and for a row of all missing where allowed."""
    kept = [dict(row) for row in rows]
    if all(member.missing == "nan" for member in signature.inputs):
        kept.append(dict.fromkeys(signature.names))
    outputs = predictor.predict(Encoder(signature).encode_rows(kept))
    rtol = getattr(predictor, "rtol", TOLERANCES[flavor])
    return Golden(tuple(kept), tuple(map(tuple, outputs.tolist())), rtol)


def check_golden(predictor: Predictor, signature: Signature, golden: Golden) -> None:
    """Predict the golden rows and compare.

    Raises:
        GoldenMismatch: an output differs by more than `rtol` (relative) and `atol`.
        BadData: a golden row does not fit the signature.
    """
    got = predictor.predict(Encoder(signature).encode_rows(golden.rows))
    want = np.array(golden.outputs, dtype=np.float64)
    if got.shape != want.shape:
        raise GoldenMismatch(
            "the model failed its golden rows", f"outputs of shape {got.shape}, not {want.shape}"
        )
    close = np.isclose(got, want, rtol=golden.rtol, atol=golden.atol, equal_nan=True)
    if close.all():
        return
    row = int(np.flatnonzero(~close.all(axis=1))[0])
    raise GoldenMismatch(
        "the model failed its golden rows",
        f"row {row} gives {got[row].tolist()}, recorded was {want[row].tolist()}",
        "Compare the library versions of training and this image; train again if they differ.",
    )
