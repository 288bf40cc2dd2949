"""Export to ONNX where the result is exact enough, with the measured difference beside it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from registry.errors import Refused, StoreUnwritable
from registry.models.bundle import encode_json
from registry.models.onnx.graph import require_libraries, to_graph
from registry.models.predictor import open_checked
from registry.models.signature import Encoder, Matrix

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from registry.models.bundle import Bundle

#: Largest difference of an output that passes unless told otherwise: ONNX computes in float32.
TOLERANCE = 1e-5
_MISSING = 0.1


class Deviation(msgspec.Struct, frozen=True):
    """Largest differences between an output of the ONNX model and of the bundle.

    `golden` over the golden rows; `sample` over `rows` further rows, and those rows again with a
    tenth of the values missing where the signature allows it.
    """

    golden: float
    sample: float
    rows: int
    tolerance: float

    @property
    def largest(self) -> float:
        """The larger one."""
        return max(self.golden, self.sample)


def export_onnx(
    bundle: Bundle,
    target: Path,
    rows: Sequence[Mapping[str, Any]] = (),
    *,
    tolerance: float = TOLERANCE,
    about: Mapping[str, str] | None = None,
) -> Deviation:
    """Write `target` and `<target>.json`, which says what was measured on golden rows and `rows`.

    The same is in the model's metadata, with the signature, by which a reader encodes, and `about`.

    Raises:
        ConfigError: a library is not installed.
        Refused: outputs differ by more than `tolerance`, or the model is of a class of one's own.
        BadData: the model cannot be expressed, or `rows` do not fit the signature.
        StoreUnwritable: the files cannot be written.
    """
    require_libraries()
    graph = to_graph(bundle)
    encoder = Encoder(bundle.signature)
    golden, sample = encoder.encode_rows(bundle.golden.rows), _with_gaps(bundle, rows, encoder)
    gaps = _differences(bundle, graph, [golden, sample])
    deviation = Deviation(gaps[0], gaps[1], len(rows), tolerance)
    if not deviation.largest <= tolerance:  # NaN is no small difference
        raise Refused(
            f"the ONNX model differs from the bundle by {deviation.largest:.3g}",
            f"more than {tolerance:g}, over {len(golden)} golden rows and {len(rows)} others",
            "Use the bundle, or allow more with --tolerance where that does no harm.",
        )
    facts = {
        **(about or {}),
        "flavor": bundle.flavor,
        "deviation": msgspec.to_builtins(deviation),
        "signature": msgspec.to_builtins(bundle.signature),
    }
    _describe(graph, facts)
    _write(target, graph.SerializeToString(deterministic=True))
    _write(target.with_name(f"{target.name}.json"), encode_json(facts))
    return deviation


def _with_gaps(bundle: Bundle, rows: Sequence[Mapping[str, Any]], encoder: Encoder) -> Matrix:
    """The encoded rows, then the same with values missing."""
    width = len(bundle.signature.inputs)
    plain = encoder.encode_rows(rows) if rows else np.empty((0, width))
    optional = np.array([member.missing == "nan" for member in bundle.signature.inputs])
    gaps = np.random.default_rng(0).random(plain.shape) < _MISSING
    return np.concatenate([plain, np.where(gaps & optional, np.nan, plain)])


def _differences(bundle: Bundle, graph: Any, parts: Sequence[Matrix]) -> list[float]:
    """The largest difference of an output over the rows of each part, 0 without rows."""
    import onnxruntime

    run = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    ).run
    predictor = open_checked(bundle)
    try:
        found = []
        for part in parts:
            with np.errstate(over="ignore"):
                (got,) = run(["outputs"], {"inputs": part.astype(np.float32)})
            gaps = np.abs(got.astype(np.float64) - predictor.predict(part))
            found.append(float(gaps.max(initial=0.0)))
        return found
    finally:
        predictor.close()


def _describe(graph: Any, facts: Mapping[str, Any]) -> None:
    """Put the facts into the model's metadata, whose values are texts."""
    for name, fact in sorted(facts.items()):
        entry = graph.metadata_props.add()
        entry.key = f"penstock.{name}"
        entry.value = (
            fact if isinstance(fact, str) else msgspec.json.encode(fact, order="sorted").decode()
        )


def _write(path: Path, data: bytes) -> None:
    """Put `data` at `path` at once: a reader sees all of it or what was there before."""
    incoming = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        incoming.write_bytes(data)
        incoming.replace(path)
    except OSError as error:
        incoming.unlink(missing_ok=True)
        why = error.strerror or str(error)
        raise StoreUnwritable(f"{path} cannot be written", why, "Choose another place.") from None
