"""Secrets: settings name *where* one is, and this package reads it from there.

```
vault:secret/penstock/store     a path in Vault, at the server that VAULT_ADDR names
file:/run/secrets/store         a file: a JSON object, or lines of NAME=VALUE
env:GATEWAY_TOKENS              a variable that holds the same as such a file
```

A secret is a few named fields of text. It never enters a parameter, path, log, manifest, attempt,
job specification or error; what is shown is its origin. Whatever reads one asks a `SecretSource`
at every use, which reads again when that is due, so that a rotated secret needs no restart.
"""

from __future__ import annotations

from registry.secrets.opening import open_secret
from registry.secrets.protocol import SecretSource

__all__ = ["SecretSource", "open_secret"]
