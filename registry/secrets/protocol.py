"""The contract of a source of secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

#: The named parts of a secret, such as access_key_id and secret_access_key.
Fields = Mapping[str, str]


@dataclass(frozen=True)
class Fetched:
    """What one reading gave. `lease_s`: seconds after which the server withdraws it, if it does."""

    fields: Fields = field(repr=False)
    lease_s: float | None = None


class Origin(Protocol):
    """Reads a secret anew each time."""

    @property
    def name(self) -> str:
        """Where the secret is, for people; never what it is."""

    def fetch(self) -> Fetched:
        """Read it.

        Raises:
            Temporary: the place is away for now (Vault is sealed or out of reach).
            Refused: reading it is not permitted.
            ConfigError: there is no such secret, or it is not made of named texts.
        """


class SecretSource(Protocol):
    """A secret that is read at every use. Shared between threads."""

    @property
    def name(self) -> str:
        """Where the secret is, for people; never what it is."""

    def read(self) -> Fields:
        """Its fields, as fresh as settings ask for. Raises as `Origin.fetch` does."""

    def forget(self) -> None:
        """Its user was turned away with it: read it again at the next use."""
