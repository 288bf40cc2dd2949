"""The recipe of an artifact, and its key: what it is made from decides what it is called.

The key covers the family, the name, the explicit version of the step, the significant parameters,
the keys of the inputs, the snapshots of external data and the retraction epoch. It is recursive,
so that a change upstream changes every key below, and known before anything has run. Code is not
part of it; the step's version is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from registry.artifacts.canonical import digest_normal, normal, spell
from registry.errors import UsageError

_WORD = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
#: 2013, 2013-W26, 2013-06-30, 2013-06-30T03: year, week, day, hour (or three hours).
_DATE = re.compile(r"\d{4}(-W\d{2}|-\d{2}-\d{2}(T\d{2})?)?", re.ASCII)
KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what an artifact is.

    `inputs` maps a role to the key, or the ordered keys, of what is read; `externals` maps the
    name of an external source to its snapshot; `epoch` counts retractions. `absent` maps
    parameters that were introduced later to the value that stands for "not there": a parameter at
    that value is left out, so that older keys stay as they were.
    """

    family: str
    name: str
    version: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    externals: Mapping[str, str] = field(default_factory=dict)
    date: str | None = None
    epoch: int = 0
    absent: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        _check_word("family", self.family)
        _check_word("name", self.name)
        if self.version < 1:
            raise UsageError(f"{self.family} has the version {self.version}", "versions start at 1")
        if self.date is not None and not _DATE.fullmatch(self.date):
            raise UsageError(f"{self.date!r} is not a date", "e.g. 2013-06-30, 2013-W26")

    @cached_property
    def significant(self) -> dict[str, Any]:
        """The parameters in normal form, those at their declared absent value left out."""
        parameters: dict[str, Any] = normal(self.parameters, "parameters")
        absent = normal(self.absent, "absent")
        return {
            name: value
            for name, value in parameters.items()
            if not (name in absent and spell(absent[name]) == spell(value))
        }

    @cached_property
    def key(self) -> str:
        """The recipe key: 64 hex digits."""
        return digest_normal("penstock.recipe.v1", self.spelled())

    def spelled(self) -> dict[str, Any]:
        """What the key is computed over, in normal form; also what two recipes are compared by."""
        spelled = {
            "family": self.family,
            "name": self.name,
            "version": self.version,
            "parameters": self.significant,
            "inputs": normal(self.inputs),
            "externals": normal(self.externals),
            "date": self.date,
        }
        return spelled if self.epoch == 0 else {**spelled, "epoch": self.epoch}

    @property
    def base_key(self) -> str:
        """The key before any retraction (epoch 0): what retractions are recorded under."""
        return self.key if self.epoch == 0 else replace(self, epoch=0).key

    def at_epoch(self, epoch: int) -> Recipe:
        """The same recipe after `epoch` retractions."""
        return replace(self, epoch=epoch) if epoch != self.epoch else self


def _check_word(what: str, word: str) -> None:
    if not _WORD.fullmatch(word):
        raise UsageError(
            f"the {what} {word!r} cannot be used",
            "it becomes a folder in the store",
            "Use 1 to 63 of a-z, 0-9, _, . and -, starting with a letter or digit.",
        )


def check_key(text: str) -> str:
    """`text`, if it is a full recipe key.

    Raises:
        UsageError: it is not 64 hex digits.
    """
    if not KEY.fullmatch(text):
        raise UsageError(f"{text!r} is not a recipe key", "a key has 64 hex digits")
    return text
