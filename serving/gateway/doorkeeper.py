"""Who may ask: a request shows a token of a client, unless its path is open to everybody.

The gateway knows the tokens' digests only. Tokens are long and drawn at random, so a plain SHA-256
tells nothing about them; all are compared, each in constant time. Tokens travel as RFC 6750 says.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from serving.errors import RequestError, TokensMissing, Unauthorized
from serving.gateway.exchange import Exchange
from serving.gateway.metrics import Metrics

#: Asked by schedulers and load balancers, which hold no token; the answers tell nothing of models.
OPEN = frozenset({"/v2/health/live", "/v2/health/ready", "/ping", "/health"})
METRICS = "/metrics"


class Doorkeeper:
    """Admits requests by their head, before a byte of the body is read."""

    def __init__(self, metrics: Metrics, *, required: bool, open_metrics: bool) -> None:
        self.required = required
        self._metrics = metrics
        self._open = OPEN | {METRICS} if open_metrics else OPEN
        self._digests: Mapping[str, str] | None = None

    def know(self, digests: Mapping[str, str] | None) -> None:
        """From now on these clients' tokens count; None admits nobody."""
        self._digests = digests

    def admit(self, exchange: Exchange) -> RequestError | None:
        """Why the request is refused, or None."""
        if _path(exchange) in self._open:
            return None
        client = self.check(exchange.authorization)
        if isinstance(client, RequestError):
            return client
        exchange.client = client
        return None

    def check(self, authorization: bytes) -> str | RequestError:
        """The client whose token `authorization` shows (`Bearer TOKEN`), or why nobody is let in.

        Empty where no token is asked for.
        """
        if not self.required:
            return ""
        if self._digests is None:
            return TokensMissing("no token can be checked now")
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not token.strip():
            return Unauthorized("a token is needed", "", "Send `Authorization: Bearer TOKEN`.")
        client = self._client(token.strip())
        if client is None:
            return Unauthorized("the token is not known")
        self._metrics.add("client_request_total", 1, (("client", client),))
        return client

    def _client(self, token: bytes) -> str | None:
        digest, found = hashlib.sha256(token).hexdigest(), None
        for name, known in (self._digests or {}).items():
            if hmac.compare_digest(digest, known):
                found = name
        return found


def _path(exchange: Exchange) -> str:
    """The path as the application will see it."""
    return exchange.path.partition("?")[0].rstrip("/") or "/"
