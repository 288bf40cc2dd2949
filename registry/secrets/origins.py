"""Secrets of this machine: in a file, or in a variable of the environment."""

from __future__ import annotations

import os
from pathlib import Path

from registry.errors import ConfigError
from registry.secrets.fields import parse_fields
from registry.secrets.protocol import Fetched

#: A file of secrets is small; a larger one is something else.
MAX_BYTES = 1 << 20


class FileOrigin:
    """A file such as Nomad, Kubernetes or systemd put in a task's folder of secrets."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        return f"file:{self.path}"

    def fetch(self) -> Fetched:
        try:
            with self.path.open("rb") as file:
                text = file.read(MAX_BYTES).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"the secret at {self.name} cannot be read",
                getattr(error, "strerror", None) or "it is not text",
                "Put it there, readable for the user that penstock runs as.",
            ) from None
        return Fetched(parse_fields(text, self.name))


class VariableOrigin:
    """A variable that holds what a file would."""

    def __init__(self, variable: str) -> None:
        self.variable = variable

    @property
    def name(self) -> str:
        return f"env:{self.variable}"

    def fetch(self) -> Fetched:
        text = os.environ.get(self.variable, "")
        if not text:
            raise ConfigError(
                f"the secret at {self.name} cannot be read",
                "the variable is not set",
                "Set it, or name another place.",
            )
        return Fetched(parse_fields(text, self.name))
