"""Errors of the runner on Nomad.

```
PenstockError
├── ConfigError
│   ├── NomadRefused      the token lacks a capability; names it
│   ├── NomadUntrusted    its certificate, or ours, is not accepted
│   └── NotRegistered     the parameterized job is not there, or cannot be dispatched
└── Temporary
    └── RunnerAway
        └── NomadAway     no answer, or none that means anything, for the moment
```
"""

from __future__ import annotations

from pipelines.runners.protocol import RunnerAway
from registry.errors import ConfigError


class NomadAway(RunnerAway):
    """Nomad cannot be reached, or has no leader; what runs there goes on."""

    def __init__(self, why: str) -> None:
        super().__init__("Nomad does not answer", why)


class NomadRefused(ConfigError):
    """The token does not allow what was asked."""

    def __init__(self, doing: str, capability: str, namespace: str, token: bool) -> None:
        whose = "the token in NOMAD_TOKEN lacks" if token else "NOMAD_TOKEN is not set; it takes"
        super().__init__(
            f"Nomad does not allow to {doing}",
            f"{whose} the capability {capability} in the namespace {namespace!r}",
            "nomad/policies/ has a policy with all that a pipeline needs.",
        )
        self.capability = capability


class NomadUntrusted(ConfigError):
    """TLS could not be agreed on: waiting does not help."""

    def __init__(self, address: str, why: str) -> None:
        super().__init__(
            f"no trusted connection to Nomad at {address}",
            why,
            "Set NOMAD_CACERT to the authority of its certificate, NOMAD_TLS_SERVER_NAME to the name "
            "in it, and NOMAD_CLIENT_CERT and NOMAD_CLIENT_KEY where it asks for them.",
        )


class NotRegistered(ConfigError):
    """There is no such parameterized job."""

    def __init__(self, parent: str, namespace: str, why: str) -> None:
        super().__init__(
            f"the job {parent} cannot be dispatched in the namespace {namespace!r} of Nomad",
            why,
            "Run `penstock register`.",
        )
