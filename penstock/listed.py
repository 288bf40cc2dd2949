"""What there is of a kind, as seen from a notebook: artifacts, and evaluations as one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from penstock.artifacts import Artifact, cache_of
from registry.artifacts.fetch import read_manifest
from registry.artifacts.layout import manifests_prefix
from registry.artifacts.retract import is_retracted, read_epochs
from registry.artifacts.store import open_environment
from registry.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from registry.artifacts.manifest import Manifest


def find_artifacts(
    family: str, name: str, *, store: str | None, environment: str | None
) -> list[Artifact]:
    """See `penstock.find`."""
    settings = Settings.load(store=store, environment=environment)
    root = open_environment(settings)
    epochs = read_epochs(root)
    found = []
    for path in root.list(manifests_prefix(family, name)):
        manifest = read_manifest(root, path)
        if not is_retracted(manifest.recipe(), epochs):
            found.append(Artifact(manifest.reference(path), manifest, root, cache_of(settings)))
    return sorted(found, key=lambda artifact: (artifact.manifest.date or "", artifact.key))


def evaluations_of(name: str, *, store: str | None, environment: str | None) -> pa.Table:
    """See `penstock.evaluations`."""
    import pyarrow as pa

    found = find_artifacts("evaluation", name, store=store, environment=environment)
    rows = [_row(artifact) for artifact in found]
    metrics = sorted({metric for artifact in found for metric in artifact.manifest.metrics})
    text = [(column, pa.string()) for column in ("date", "algorithm", "parameters", "model", "key")]
    schema = pa.schema([*text, *((metric, pa.float64()) for metric in metrics)])
    return pa.Table.from_pylist(rows, schema=schema)


def _row(evaluation: Artifact) -> dict[str, Any]:
    manifest = evaluation.manifest
    model = _model(evaluation)
    parameters = model.parameters if model else {}
    return {
        "date": manifest.date,
        "algorithm": parameters.get("algorithm"),
        "parameters": ", ".join(_pairs(parameters.get("model", {}))),
        "model": manifest.inputs.get("model"),
        "key": manifest.key,
        **manifest.metrics,
    }


def _model(evaluation: Artifact) -> Manifest | None:
    """The manifest of the model that was evaluated."""
    key = evaluation.manifest.inputs.get("model")
    for reference in evaluation.manifest.references:
        if reference.key == key:
            return read_manifest(evaluation.store, reference.path)
    return None


def _pairs(values: Mapping[str, Any]) -> Iterator[str]:
    return (f"{name}={value}" for name, value in sorted(values.items()))
