"""The manifest: the frozen record whose creation commits an artifact.

Two digests: `content` covers the files alone (what reproducing an artifact compares), `version`
covers the whole manifest, timings and producer included, and stands inside it, so that an edit
by hand is found at the next reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from registry.artifacts.canonical import digest_normal
from registry.artifacts.key import Recipe
from registry.artifacts.records import decode_record
from registry.artifacts.store.protocol import is_object_key
from registry.decoders import decoder
from registry.errors import BadData, Corrupt, UsageError

FORMAT = 1


def model_name(name: str, horizon: str) -> str:
    """The name of a use case's model at a horizon; the use case's own horizon has no name."""
    return f"{name}-{horizon}" if horizon else name


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of an artifact: path below the artifact's folder, bytes, hex sha256."""

    path: str
    size: int
    sha256: str


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An artifact as others name it: where its manifest lies, and the digests it must have."""

    path: str
    key: str
    content: str
    version: str


class Producer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who made it: run, attempt, writer, machine, code; versions of the libraries by name.

    Manifests that were written before libraries were recorded have none. `device` is told of jobs
    that asked for a GPU: the card that was used, or "processor" and why.
    """

    run: str
    attempt: int
    writer: str
    host: str
    commit: str
    dirty: bool
    lock: str
    python: str
    runner: str = ""
    allocation: str = ""
    libraries: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    device: str | msgspec.UnsetType = msgspec.UNSET


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An artifact: what it was made from, what it consists of, who made it and at what cost.

    `parameters`, `inputs`, `externals`, `date` and `epoch` are those of the recipe. `references`
    adds the content digest of each input. `resources` holds what was asked and used (cpus,
    memory_mb, peak_rss_mb, cpu_s, wall_s, input_bytes), `timings` the Unix times `started` and
    `ended`.
    """

    key: str
    family: str
    name: str
    step_version: int
    parameters: dict[str, Any]
    inputs: dict[str, str | list[str]]
    references: list[Reference]
    externals: dict[str, str]
    date: str | None
    epoch: int
    data: str
    files: list[File]
    content: str
    metrics: dict[str, float]
    producer: Producer
    resources: dict[str, float]
    timings: dict[str, float]
    seed: int | None = None
    rows: int | None = None
    signature: dict[str, Any] | None = None
    format: int = FORMAT
    version: str = ""

    @property
    def model(self) -> str:
        """What a model is called where aliases are: "flights", at a horizon "flights-dayahead"."""
        return model_name(self.name, self.parameters.get("horizon", ""))

    def sealed(self) -> Manifest:
        """The same manifest as its readers will see it, with `version` over everything else.

        Encoded and read back first: a whole number where a float is declared would otherwise be
        sealed as 2 and read as 2.0, and the manifest would contradict its own digest.
        """
        read = decoder(Manifest).decode(msgspec.json.encode(self))
        return msgspec.structs.replace(read, version=_seal(read))

    def reference(self, path: str) -> Reference:
        """How others name this artifact, whose manifest lies at `path`."""
        return Reference(path, self.key, self.content, self.version)

    def recipe(self) -> Recipe:
        """The recipe that this manifest records."""
        return Recipe(
            family=self.family,
            name=self.name,
            version=self.step_version,
            parameters=self.parameters,
            inputs={k: v if isinstance(v, str) else tuple(v) for k, v in self.inputs.items()},
            externals=self.externals,
            date=self.date,
            epoch=self.epoch,
        )


def _seal(manifest: Manifest) -> str:
    fields: dict[str, Any] = msgspec.to_builtins(manifest)
    return digest_normal(
        "penstock.manifest.v1", {k: v for k, v in fields.items() if k != "version"}
    )


def content_digest(files: list[File]) -> str:
    """The digest of an artifact's files, whatever their order."""
    listed = sorted([file.path, file.size, file.sha256] for file in files)
    return digest_normal("penstock.content.v1", listed)


def decode(data: bytes, where: str, key: str | None = None) -> Manifest:
    """Read and verify a manifest stored at `where`, which must be that of `key` if given.

    Raises:
        Corrupt: it was changed after it was committed, or is not the manifest of `key`.
        BadData: it is not a manifest at all, or of a newer format.
    """
    _check_format(data, where)
    manifest = decode_record(data, Manifest, where, "manifest")
    if manifest.version != _seal(manifest) or manifest.content != content_digest(manifest.files):
        raise _corrupt(
            f"the manifest {where} was changed after it was committed",
            "its digest does not fit its content",
        )
    if (key is not None and manifest.key != key) or _recipe_key(manifest) != manifest.key:
        raise _corrupt(
            f"the manifest {where} belongs to another recipe",
            f"it names the key {manifest.key[:16]}",
        )
    strays = [file.path for file in manifest.files if not is_object_key(file.path)]
    if strays:
        raise _corrupt(f"the manifest {where} names files outside its folder", strays[0])
    return manifest


def _recipe_key(manifest: Manifest) -> str | None:
    try:
        return manifest.recipe().key
    except UsageError:  # Its fields make no recipe.
        return None


def _corrupt(what: str, why: str) -> Corrupt:
    todo = "Restore the object from a backup, or retract the artifact so that it is made again."
    return Corrupt(what, why, todo)


class _Format(msgspec.Struct):
    format: int = FORMAT


def _check_format(data: bytes, where: str) -> None:
    """Before the strict reading, to which a newer format with more fields would look damaged."""
    found = decode_record(data, _Format, where, "manifest").format
    if found != FORMAT:
        raise BadData(
            f"{where} has the manifest format {found}",
            f"this penstock reads format {FORMAT}",
            "Use the version of penstock that wrote it, or a newer one.",
        )


def metrics_of(values: Mapping[str, float]) -> dict[str, float]:
    """`values` as finite floats; an infinite or missing metric is left out."""
    finite = float("inf")
    return {name: float(v) for name, v in values.items() if -finite < float(v) < finite}
