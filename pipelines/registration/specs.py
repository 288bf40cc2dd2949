"""Job specifications on disk: where they are, and which variables they declare."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from registry.errors import NotFound

#: The specifications by what they are for.
WORK, PIPELINE, SERVICE = "job", "pipeline", "serving"
SUFFIX = ".nomad.hcl"
#: As `nomad fmt` leaves a block; a test holds the files to that form.
_BLOCK = re.compile(r'^variable "(\w+)" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)
_ATTRIBUTE = re.compile(r"^  (\w+) *= *(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Variable:
    """A variable that a specification declares; `type` as it is written there."""

    name: str
    type: str
    description: str
    required: bool


@dataclass(frozen=True)
class Spec:
    """One specification: its file and its text."""

    path: Path
    text: str

    @cached_property
    def variables(self) -> dict[str, Variable]:
        """What it declares, by name."""
        return {variable.name: variable for variable in _declared(self.text)}


def _declared(text: str) -> Iterator[Variable]:
    for name, body in _BLOCK.findall(text):
        found = dict(_ATTRIBUTE.findall(body))
        description = found.get("description", "").strip('"')
        yield Variable(name, found.get("type", ""), description, "default" not in found)


def find_folder(given: Path | None) -> Path:
    """The folder of specifications: the one given, `nomad/` here, or that of the checkout.

    Raises:
        NotFound: there is none.
    """
    checkout = Path(__file__).resolve().parents[2]
    candidates = [given] if given else [Path("nomad"), checkout / "nomad"]
    for folder in candidates:
        if (folder / f"{WORK}{SUFFIX}").is_file():
            return folder.absolute()
    raise NotFound(
        f"no job specifications in {', '.join(map(str, candidates))}",
        f"there is no {WORK}{SUFFIX}",
        "Run it in a checkout, or name the folder with --specs.",
    )


def read_spec(folder: Path, name: str) -> Spec:
    """The specification `name` in a folder. Raises NotFound."""
    path = folder / f"{name}{SUFFIX}"
    try:
        return Spec(path, path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotFound(f"{path} cannot be read", error.strerror or "") from None


def known_variables(folder: Path) -> dict[str, Variable]:
    """The variables of all specifications in a folder."""
    found: dict[str, Variable] = {}
    for name in (WORK, PIPELINE, SERVICE):
        found |= read_spec(folder, name).variables
    return found
