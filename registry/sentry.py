"""Sentry: where errors are reported if a DSN is set. Its library is loaded for that alone.

The DSN is a secret, since whoever has it may write there. It stays in the processes that face no
client: a service's gateways and workers tell their supervisor.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from registry.artifacts.provenance import running_code
from registry.errors import ConfigError, PenstockError
from registry.logs import get_logger
from registry.redaction import redact, remember
from registry.reports import Event, reports
from registry.secrets import open_secret
from registry.settings import Settings

log = get_logger(__name__)
VARIABLE = "SENTRY_DSN"
#: What the DSN may be called in a secret.
FIELDS = ("dsn", VARIABLE)
#: Seconds that the end of a process may wait for what is still to be sent.
PATIENCE = 2.0


class Sentry:
    """Sends events from a thread of the library's; what it cannot send in time is dropped."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Any = None
        self._opened = False
        self._lock = threading.Lock()

    def open(self) -> None:
        """Load the library and read the DSN; without this the first event does it."""
        with self._lock:
            if self._opened:
                return
            self._opened = True
            try:
                self._client = _client(self._settings)
            except PenstockError as error:
                # Whoever runs must not fail because nobody would hear of failures.
                log.warning("errors are not reported", reason=str(error))
                return
        atexit.register(self.close)

    def __call__(self, event: Event) -> None:
        """Send an event, soon."""
        self.open()
        if self._client is not None:
            self._client.capture_event(event)

    def close(self) -> None:
        """Send what is left, for `PATIENCE` seconds at most."""
        if self._client is not None:
            self._client.close(timeout=PATIENCE)


def report_errors(settings: Settings, *, at_once: bool = False) -> None:
    """Report the errors of this process to Sentry, if a DSN is set.

    `at_once`: open it now, for processes in which the first error is no time to load a library.
    """
    if settings.sentry_secret is None and not os.environ.get(VARIABLE):
        return
    sentry = Sentry(settings)
    if at_once:
        sentry.open()
    reports.sink = sentry


def _client(settings: Settings) -> Any:
    """Raises ConfigError: the DSN is none; and as `SecretSource.read` does."""
    dsn = _dsn(settings)
    remember([dsn, dsn.partition("://")[2].partition("@")[0]])
    import sentry_sdk
    from sentry_sdk.utils import BadDsn

    code = running_code()
    release = f"penstock@{version('penstock')}+{code.commit[:12]}{'-dirty' * code.dirty}"
    try:
        return sentry_sdk.Client(
            dsn,
            release=os.environ.get("SENTRY_RELEASE") or release,
            # There is no slash in a name of Sentry's.
            environment=os.environ.get("SENTRY_ENVIRONMENT")
            or settings.environment.replace("/", "-"),
            # Events are made in `registry.reports`; nothing is read off frames, requests or arguments.
            default_integrations=False,
            auto_enabling_integrations=False,
            include_local_variables=False,
            include_source_context=False,
            send_default_pii=False,
            send_client_reports=False,
            auto_session_tracking=False,
            enable_backpressure_handling=False,
            max_breadcrumbs=0,
            shutdown_timeout=PATIENCE,
            before_send=_scrub,
        )
    except BadDsn:
        raise ConfigError(
            "the DSN of Sentry cannot be used",
            "it is not https://KEY@HOST/PROJECT",
            "Copy it from the settings of the project in Sentry.",
        ) from None


def _dsn(settings: Settings) -> str:
    if settings.sentry_secret is None:
        return os.environ[VARIABLE].strip()
    source = open_secret(settings.sentry_secret, settings)
    fields: Mapping[str, str] = source.read()
    for name in FIELDS:
        if name in fields:
            return fields[name].strip()
    raise ConfigError(f"the secret at {source.name} has no DSN", f"its field is {FIELDS[0]!r}")


def _scrub(event: Any, _: Any) -> Any:
    """What the library added, masked as well."""
    return json.loads(redact(json.dumps(event, default=str)))
