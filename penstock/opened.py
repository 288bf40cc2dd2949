"""What commands of the registry open: the environment's root and its aliases."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from registry.aliases import Aliases, open_aliases
from registry.artifacts.manifest import Reference
from registry.artifacts.store import Store, open_environment
from registry.command import settings_of
from registry.settings import Settings


@dataclass(frozen=True)
class Registry:
    """The store of one environment, and what is live in it."""

    settings: Settings
    store: Store
    aliases: Aliases

    def live_at(self, key: str) -> list[str]:
        """The aliases (`model@alias`) at which the artifact `key` is live."""
        newest = ((name, self.aliases.log.newest(*name)) for name in self.aliases.log.names())
        return ["@".join(n) for n, d in newest if d and d.live and d.live.key == key]

    def place(self) -> dict[str, str]:
        """Which environment of which store this is, for JSON documents."""
        return {"store": self.settings.store, "environment": self.settings.environment}


def open_registry(args: argparse.Namespace) -> Registry:
    """The registry that the flags and the environment of this call name."""
    settings = settings_of(args)
    store = open_environment(settings)
    return Registry(settings, store, open_aliases(settings, store))


def short(reference: Reference | None) -> str:
    """The digits of a key that people read and may type; empty for nothing."""
    return reference.key[:16] if reference else ""


def minute(when: str) -> str:
    """An ISO time in UTC as `2013-06-30 10:20`."""
    return when[:16].replace("T", " ")
