"""A model as a folder: native model file, signature, golden rows, and what they depend on.

```
bundle.json     flavor, feature view, stages, size and digest of the model file
model.txt|.cbm  the library's own format; never a pickle, nothing in it is executed
signature.json  ordered inputs, vocabularies, outputs
golden.json     inputs with expected outputs
```

The flavor `python` is a class of a use case's own (`registry.models.own`); bundle.json then says
which, in which version, and the model file is `model.<format>`. The flavor `identity` is no model: it
gives what its stages made.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from registry.decoders import decoder
from registry.errors import BadData, Corrupt, NotFound
from registry.models.golden import Golden
from registry.models.own import Own
from registry.models.signature import Signature
from registry.models.stages import Stages

if TYPE_CHECKING:
    from pathlib import Path

Flavor = Literal["lightgbm", "catboost", "python", "identity"]
Link = Literal["identity", "logistic", "softmax"]
MODEL_FILES: dict[Flavor, str] = {
    "lightgbm": "model.txt",
    "catboost": "model.cbm",
    "identity": "model.json",
}
_T = TypeVar("_T")


class ViewVersion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The feature view that the inputs come from, and its version."""

    name: str
    version: int


class ModelFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The native file. `link` turns CatBoost's raw values into outputs; LightGBM's text has its own."""

    sha256: str
    bytes: int
    link: Link | None = None


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of bundle.json."""

    format: Literal[1]
    flavor: Flavor
    model: ModelFile
    view: ViewVersion | None = None
    stages: Stages = Stages()
    own: Own | None = None

    def __post_init__(self) -> None:
        if (self.flavor == "python") != (self.own is not None):
            raise BadData("bundle.json is malformed", "`own` belongs to the flavor python, only")

    @property
    def model_file(self) -> str:
        """The name of the model file."""
        return f"model.{self.own.format}" if self.own else MODEL_FILES[self.flavor]


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read from `folder`. Its model file is verified by `model_bytes`."""

    folder: Path
    header: Header
    signature: Signature
    golden: Golden

    @property
    def public(self) -> Signature:
        """What clients send and get: `signature`, unless stages stand between it and them."""
        return self.header.stages.public(self.signature)

    @property
    def flavor(self) -> Flavor:
        """Which library reads the model file."""
        return self.header.flavor

    @property
    def model_path(self) -> Path:
        """The native model file."""
        return self.folder / self.header.model_file

    @classmethod
    def read(cls, folder: Path) -> Bundle:
        """Read a bundle, strictly.

        Raises:
            NotFound: the folder or one of its files is not there.
            BadData: a file is not what this version of penstock writes.
        """
        header = _decode(folder / "bundle.json", Header)
        signature = _decode(folder / "signature.json", Signature)
        golden = _decode(folder / "golden.json", Golden)
        if any(member.type == "bytes" for member in signature.inputs):
            raise BadData(f"{folder}/signature.json is malformed", "no model takes bytes")
        width = len(signature.outputs)
        if any(len(output) != width for output in golden.outputs):
            raise BadData(f"{folder}/golden.json is malformed", f"rows need {width} outputs each")
        return cls(folder, header, signature, golden)

    def model_bytes(self) -> bytes:
        """The model file, verified: native parsers are not made for hostile bytes.

        Raises:
            NotFound: the file is gone.
            Corrupt: its digest is not the one in bundle.json.
        """
        data = _read(self.model_path)
        if hashlib.sha256(data).hexdigest() != self.header.model.sha256:
            raise Corrupt(
                f"{self.model_path} is damaged",
                "its digest is not the one recorded in bundle.json",
                "Fetch the artifact again, or retract it and train again.",
            )
        return data


def write_bundle(
    folder: Path,
    *,
    flavor: Flavor,
    model: bytes,
    link: Link | None = None,
    signature: Signature,
    golden: Golden,
    view: ViewVersion | None = None,
    stages: Stages | None = None,
    own: Own | None = None,
) -> Bundle:
    """Write a bundle into the existing, empty `folder` and return it."""
    digest = hashlib.sha256(model).hexdigest()
    file = ModelFile(digest, len(model), link)
    header = Header(1, flavor, file, view, stages or Stages(), own)
    (folder / header.model_file).write_bytes(model)
    for name, content in (
        ("bundle.json", header),
        ("signature.json", signature),
        ("golden.json", golden),
    ):
        (folder / name).write_bytes(encode_json(content))
    return Bundle(folder, header, signature, golden)


def encode_json(content: Any) -> bytes:
    """Indented JSON with sorted keys: the same content gives the same bytes."""
    return msgspec.json.format(msgspec.json.encode(content, order="sorted"), indent=2) + b"\n"


def _decode(path: Path, kind: type[_T]) -> _T:
    try:
        return decoder(kind).decode(_read(path))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadData(
            f"{path} is not a valid part of a model bundle",
            str(error),
            "Write the bundle again: by training, or `penstock import`.",
        ) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise NotFound(
            f"{path} is not there", str(error.strerror), "A bundle has four files."
        ) from None
