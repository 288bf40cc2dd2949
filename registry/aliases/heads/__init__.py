"""Heads: the revision that each alias points at now, where services can watch it.

A head may be behind the decision log (a crash between the two); any command heals it. It is never
ahead of a decision that exists. The contract suite `tests/contracts/test_heads.py` runs over all
implementations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.aliases.heads.protocol import Head, Heads, head_of

if TYPE_CHECKING:
    from registry.settings import Settings

__all__ = ["Head", "Heads", "head_of", "open_heads"]


def open_heads(settings: Settings) -> Heads:
    """The heads of the environment that `settings` name, kept in files below `settings.var`."""
    import hashlib
    from pathlib import Path

    from registry.aliases.heads.files import FileHeads

    # Two spellings of one store are one store, or a service would watch other files than
    # the pipeline moves.
    scheme, separator, rest = settings.store.rpartition("://")
    local = not separator or scheme == "file"
    where = Path(rest).expanduser().resolve() if local else settings.store.rstrip("/")
    scope = hashlib.sha256(f"{where}\n{settings.environment}".encode()).hexdigest()[:12]
    name = settings.environment.replace("/", "-")
    return FileHeads(Path(settings.var).absolute() / "heads" / f"{name}-{scope}")
