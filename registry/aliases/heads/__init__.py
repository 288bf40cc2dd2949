"""Heads: the revision that each alias points at now, where services can watch it.

A head may be behind the decision log (a crash between the two); any command heals it. It is never
ahead of a decision that exists. The contract suite `tests/contracts/test_heads.py` runs over all
implementations.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from registry.aliases.heads.protocol import Head, Heads, head_of

if TYPE_CHECKING:
    from registry.settings import Settings

__all__ = ["Head", "Heads", "head_of", "open_heads", "scope"]


def open_heads(settings: Settings) -> Heads:
    """The heads of the environment that `settings` name: in Consul, or in files below their `var`.

    Raises:
        ConfigError: `CONSUL_HTTP_ADDR` is set, and it or a variable beside it cannot be used.
    """
    from registry.consul import Access, is_named

    if is_named():
        from registry.aliases.heads.consul import ConsulHeads
        from registry.consul.client import Consul

        return ConsulHeads(Consul(Access.from_environment()), f"penstock/{scope(settings)}")
    from registry.aliases.heads.files import FileHeads

    return FileHeads(Path(settings.var).absolute() / "heads" / scope(settings))


def scope(settings: Settings) -> str:
    """The name of an environment of a store, among all that one Consul or one machine keeps.

    Two spellings of one store are one store, or a service would watch other heads than the
    pipeline moves.
    """
    scheme, separator, rest = settings.store.rpartition("://")
    local = not separator or scheme == "file"
    where = Path(rest).expanduser().resolve() if local else settings.store.rstrip("/")
    digest = hashlib.sha256(f"{where}\n{settings.environment}".encode()).hexdigest()[:12]
    return f"{settings.environment.replace('/', '-')}-{digest}"
