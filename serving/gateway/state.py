"""What the gateway process knows about itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class State:
    """Where it listens, whether clients need tokens, and how it stands."""

    address: str
    tokens: bool = False
    draining: bool = False
    live: bool = True
