"""A model of the store as a file for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from penstock.artifacts import cache_of
from penstock.opened import Registry
from registry.artifacts.fetch import fetch
from registry.artifacts.manifest import Manifest, Reference
from registry.errors import NotFound, UsageError
from registry.models.bundle import Bundle
from registry.models.onnx.export import Deviation, export_onnx
from registry.models.sample import first_rows
from registry.models.signature import Signature
from registry.names import find_named

#: Rows of a sample that outputs are compared on.
ROWS = 10_000


def export(
    registry: Registry, name: str, target: Path, *, sample: Path | None, tolerance: float
) -> tuple[Manifest, Deviation]:
    """Write the model that `name` means to `target`, as ONNX; see `export_onnx`.

    Outputs are compared on rows of `sample`, or of the last day that the model learnt from.

    Raises:
        UsageError: no sample was given, and what the model learnt from is not in the store.
        NotFound, BadData, Refused, ConfigError, StoreUnwritable: see `export_onnx`.
    """
    reference, manifest = find_named(registry.settings, registry.store, name)
    bundle = Bundle.read(fetch(registry.store, reference, cache_of(registry.settings)))
    rows = _rows(registry, manifest, bundle.signature, sample)
    about = {"key": manifest.key, "model": manifest.model, "date": manifest.date or ""}
    return manifest, export_onnx(bundle, target, rows, tolerance=tolerance, about=about)


def _rows(
    registry: Registry, manifest: Manifest, signature: Signature, sample: Path | None
) -> list[dict[str, Any]]:
    if sample is not None:
        return first_rows(sample, signature, ROWS)
    keys = manifest.inputs.get("features", [])
    days = [each for each in manifest.references if each.key in keys]
    try:
        return _of_day(registry, days[-1], signature)
    except (IndexError, NotFound):
        raise UsageError(
            f"there are no rows to compare {manifest.key[:16]} on",
            "what it learnt from is not in this store",
            "Give rows with its inputs: --sample rows.parquet.",
        ) from None


def _of_day(registry: Registry, day: Reference, signature: Signature) -> list[dict[str, Any]]:
    folder = fetch(registry.store, day, cache_of(registry.settings))
    return first_rows(folder / "features.parquet", signature, ROWS)
