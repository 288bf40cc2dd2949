"""Credentials of an S3 store that come from a source of secrets, asked at every use.

obstore keeps what a provider gave until five minutes before it expires, and for a tenth of a second
in any case. These credentials always claim to expire at once, so the source decides how fresh they
are; asking it costs microseconds.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from registry.errors import ConfigError, PenstockError
from registry.secrets import SecretSource
from registry.secrets.protocol import Fields

if TYPE_CHECKING:
    from obstore.store import S3Credential

#: What each part may be called: here, in the variables of S3 clients, by Vault's AWS engine.
_NAMES = {
    "access_key_id": ("access_key_id", "AWS_ACCESS_KEY_ID", "access_key"),
    "secret_access_key": ("secret_access_key", "AWS_SECRET_ACCESS_KEY", "secret_key"),
    "token": ("session_token", "AWS_SESSION_TOKEN", "security_token"),
}
#: Seconds for which obstore keeps credentials whatever they claim; with some room.
_SETTLE_S = 0.15
#: Seconds for which a request may have been on its way with the credentials before the last.
_OVERLAP_S = 90.0


class StoreCredentials:
    """A credential provider for obstore. Shared between threads."""

    def __init__(self, source: SecretSource) -> None:
        self._source = source
        self._given: Fields | None = None
        self._changed = float("-inf")
        self._lock = threading.Lock()
        #: Why the last question to the source failed; obstore tells only that it did.
        self.failure: PenstockError | None = None

    @property
    def name(self) -> str:
        """Where the credentials are, for people."""
        return self._source.name

    def __call__(self) -> S3Credential:
        """The credentials as obstore wants them. Raises as `SecretSource.read` does."""
        try:
            fields = self._source.read()
            credential = _credential(fields, self.name)
        except PenstockError as error:
            self.failure = error
            raise
        self.failure = None
        self._note(fields)
        return credential

    def renewed(self) -> bool:
        """Whether the source has others than those that the store just turned away."""
        self._source.forget()
        self._note(self._source.read())
        if time.monotonic() - self._changed > _OVERLAP_S:
            return False
        time.sleep(_SETTLE_S)
        return True

    def _note(self, fields: Fields) -> None:
        with self._lock:
            if self._given is not None and fields != self._given:
                self._changed = time.monotonic()
            self._given = fields


def _credential(fields: Fields, name: str) -> S3Credential:
    found = {part: _first(fields, names) for part, names in _NAMES.items()}
    missing = [part for part in ("access_key_id", "secret_access_key") if not found[part]]
    if missing:
        raise ConfigError(
            f"the secret at {name} holds no credentials of a store",
            f"it lacks {' and '.join(missing)}",
            "Write access_key_id and secret_access_key, and session_token where there is one.",
        )
    return {
        "access_key_id": found["access_key_id"],
        "secret_access_key": found["secret_access_key"],
        "token": found["token"] or None,
        "expires_at": datetime.now(UTC),
    }


def _first(fields: Fields, names: tuple[str, ...]) -> str:
    return next((fields[name] for name in names if name in fields), "")
