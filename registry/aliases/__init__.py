"""What is live: a log of decisions in the store, and a head that points at the newest of them."""

from __future__ import annotations

from registry.aliases.aliases import Aliases, open_aliases
from registry.aliases.decision import Decision
from registry.aliases.heads import Head, Heads, open_heads

__all__ = ["Aliases", "Decision", "Head", "Heads", "open_aliases", "open_heads"]
