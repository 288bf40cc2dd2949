"""What Consul answers when it does not do what was asked.

```
PenstockError
├── Temporary
│   └── NoLeader     its servers are electing a leader
└── Refused
    └── Denied       the token lacks a right; says nothing about what is there
```
"""

from __future__ import annotations

from registry.errors import ConfigError, PenstockError, Refused, Temporary


class NoLeader(Temporary):
    """The servers of Consul have no leader now; only stale reads are answered."""

    kind = "no-leader"


class Denied(Refused):
    """The token lacks a right, or is not known (any more). Says nothing about what is there."""

    kind = "consul-denied"


def failure(asked: str, status: int, text: str) -> PenstockError:
    """The error that an answer other than 200 becomes; `asked` is method and path."""
    if status == 403:
        return Denied(
            f"Consul refuses {asked}",
            text or "the token lacks a right",
            f"{_right(asked)} The token comes from CONSUL_HTTP_TOKEN_FILE or CONSUL_HTTP_TOKEN.",
        )
    if status >= 500 and "leader" in text.lower():
        return NoLeader("Consul has no leader", text, "It elects one by itself; try again.")
    if status >= 500 or status == 429:
        return Temporary(f"Consul cannot answer {asked} now", f"{status}: {text}", "Try again.")
    return ConfigError(f"Consul does not take {asked}", f"{status}: {text}")


def _right(asked: str) -> str:
    """Which of the shipped policies has the right that was missing."""
    folder = "nomad/policies/consul"
    if asked.startswith("PUT /v1/kv/") and "/heads/" in asked:
        return f"Moving a head needs key:write, which {folder}/pipeline.hcl grants."
    if asked.startswith("PUT"):
        return f"Serving needs the rights of {folder}/serving.hcl for this."
    return f"Reading needs key:read, which each policy in {folder} grants."
