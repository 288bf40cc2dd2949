"""From a setting to a source."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from registry.errors import ConfigError
from registry.secrets.cached import CachedSource, Patience
from registry.secrets.origins import FileOrigin, VariableOrigin
from registry.secrets.protocol import Origin, SecretSource
from registry.secrets.reference import Place, parse_place

if TYPE_CHECKING:
    from registry.settings import Settings


def open_secret(text: str, settings: Settings) -> SecretSource:
    """The secret at the place that `text` names; nothing is read yet.

    Raises:
        ConfigError: `text` names no place.
    """
    try:
        place = parse_place(text)
    except ValueError as error:
        raise ConfigError("the place of a secret cannot be used", str(error)) from None
    # A file or a variable costs nothing to read, so it is read at every use.
    refresh = settings.secrets_refresh if place.kind == "vault" else 0.0
    return CachedSource(_origin(place, settings), Patience(refresh, settings.secrets_keep))


def _origin(place: Place, settings: Settings) -> Origin:
    if place.kind == "file":
        return FileOrigin(Path(place.name))
    if place.kind == "env":
        return VariableOrigin(place.name)
    # hvac costs as much as the rest of a pipeline's process: only who uses Vault imports it.
    from registry.secrets.vault.origin import VaultOrigin, connect_vault

    return VaultOrigin(place.name, partial(connect_vault, settings))
