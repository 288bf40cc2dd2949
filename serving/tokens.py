"""The tokens of the endpoint's clients: read from where a setting says, followed as they change."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Mapping

from registry.errors import ConfigError, PenstockError, Temporary
from registry.logs import get_logger
from registry.secrets import SecretSource, open_secret
from registry.settings import Settings

log = get_logger(__name__)
#: Seconds between two looks; the source decides when the place itself is asked.
LOOK_EVERY = 1.0
#: A token of 128 bits in base64 or more; and as many as fit into one message to the gateway.
SHORTEST, MOST = 20, 400
LONGEST_NAME = 64

#: The SHA-256 of each token, by the name of its client.
Digests = Mapping[str, str]


class ClientTokens:
    """Tells `changed` the digests of the tokens, from a thread, each time that they change.

    A token that was added or withdrawn counts within seconds. Where they cannot be read, those that
    are known stay in use for `keep_s` seconds; after that nobody is admitted.
    """

    def __init__(self, source: SecretSource, keep_s: float) -> None:
        self.digests: Digests | None = None
        self._source = source
        self._keep_s = keep_s
        self._failing_since: float | None = None
        self._stop = threading.Event()

    def open(self) -> None:
        """Read them for the first time. Raises as `SecretSource.read` does, and ConfigError."""
        self.digests = _digests(self._source)

    def start(self, changed: Callable[[Digests | None], object]) -> None:
        """Follow them until `stop`."""
        threading.Thread(target=self._follow, args=(changed,), name="tokens", daemon=True).start()

    def stop(self) -> None:
        """Follow no longer."""
        self._stop.set()

    def _follow(self, changed: Callable[[Digests | None], object]) -> None:
        while not self._stop.wait(LOOK_EVERY):
            before = self.digests
            self._look()
            if self.digests != before and not self._stop.is_set():
                log.info("tokens changed", clients=len(self.digests or ()))
                with contextlib.suppress(RuntimeError):  # the loop was closed in between
                    changed(self.digests)

    def _look(self) -> None:
        try:
            self.open()
            self._failing_since = None
        except PenstockError as error:
            now = time.monotonic()
            if self._failing_since is None:
                log.error("tokens not read", secret=self._source.name, reason=str(error))
                self._failing_since = now
            # The source itself has outlasted a place that is away.
            if isinstance(error, Temporary) or now - self._failing_since > self._keep_s:
                self.digests = None


def open_tokens(settings: Settings) -> ClientTokens | None:
    """The tokens that settings name a place for, read once; None where clients need none.

    Raises:
        Temporary: Vault is sealed or out of reach.
        Refused: reading them is not permitted.
        ConfigError: they are not there, or one is too short.
    """
    if settings.serving_tokens is None:
        return None
    tokens = ClientTokens(open_secret(settings.serving_tokens, settings), settings.secrets_keep)
    tokens.open()
    return tokens


def _digests(source: SecretSource) -> Digests:
    fields = source.read()
    for name, token in fields.items():
        if len(token) < SHORTEST or not token.isascii() or any(c <= " " for c in token):
            raise ConfigError(
                f"the token of {name[:LONGEST_NAME]!r} at {source.name} cannot be used",
                f"it must be {SHORTEST} or more visible ASCII characters",
                "Draw one: openssl rand -hex 32.",
            )
    if len(fields) > MOST or any(len(name) > LONGEST_NAME for name in fields):
        raise ConfigError(
            f"the tokens at {source.name} cannot be used",
            f"at most {MOST} clients, with names of up to {LONGEST_NAME} characters, are known",
        )
    return {name: hashlib.sha256(token.encode()).hexdigest() for name, token in fields.items()}
