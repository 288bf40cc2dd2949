"""What the gateway process knows about itself."""

from __future__ import annotations

from dataclasses import dataclass

from serving.errors import Overloaded


@dataclass
class State:
    """Where it listens, how clients must come, and how it stands."""

    address: str
    tokens: bool = False
    encrypted: bool = False
    draining: bool = False
    live: bool = True

    def check_live(self) -> None:
        """Raise Overloaded if the supervisor is silent."""
        if not self.live:
            raise Overloaded("the supervisor does not answer")

    @property
    def url(self) -> str:
        """What the paths of the endpoint are below."""
        return f"http{'s' if self.encrypted else ''}://{self.address}"
