"""What `penstock doctor` tells about secrets: where each comes from, never what it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from registry.checks import Check, failed
from registry.errors import PenstockError
from registry.secrets import open_secret
from registry.secrets.reference import Place, parse_place
from registry.settings import TABLE, Settings

#: Rights that let others of the machine read a file.
_OTHERS = 0o004


def check_secrets(settings: Settings) -> Iterator[Check]:
    """Vault can be logged in to, and every place that a setting names holds a secret."""
    yield from _check_vault(settings)
    for row in TABLE:
        text = settings.values[row.name] if row.place else None
        if text is not None:
            yield from _check_place(row.name, parse_place(text), settings)


def _check_vault(settings: Settings) -> Iterator[Check]:
    if not os.environ.get("VAULT_ADDR"):
        yield Check(
            "vault", "ok", "VAULT_ADDR is not set: secrets are read from files or variables"
        )
        return
    from registry.secrets.vault.origin import connect_vault

    try:
        yield Check("vault", "ok", connect_vault(settings).check())
    except PenstockError as error:
        yield failed("vault", error)


def _check_place(name: str, place: Place, settings: Settings) -> Iterator[Check]:
    try:
        fields = open_secret(str(place), settings).read()
    except PenstockError as error:
        yield failed("secrets", error)
        return
    found = f"{name} from {place}, fields: {len(fields)}"
    if place.kind == "file" and Path(place.name).stat().st_mode & _OTHERS:
        hint = f"chmod o-r {place.name}"
        yield Check("secrets", "warn", f"{found}; every user of this machine can read it", hint)
    else:
        yield Check("secrets", "ok", found)
