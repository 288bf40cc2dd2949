"""Presence: what others can learn in Consul of this service while it runs.

A thread keeps it up: what the service has loaded, and its registration. Consul may lose all of it
(a new agent, a wiped server, a session that ended), so each beat looks and mends. Serving never
waits for it.
"""

from __future__ import annotations

import datetime as dt
import random
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from registry.aliases.heads import scope
from registry.aliases.loaded import TTL, ConsulReport, Loaded
from registry.consul import Access, is_named
from registry.errors import ConfigError, PenstockError
from registry.logs import get_logger

if TYPE_CHECKING:
    from registry.settings import Settings
    from serving.deployment import Deployment

log = get_logger(__name__)
#: Seconds between two beats: two may be lost before a session ends.
BEAT = TTL / 3


class Keeper(Protocol):
    """One thing that is kept up in Consul."""

    def keep(self, rows: Sequence[Loaded]) -> None:
        """Make it so, where it is not; `rows` is what is loaded. Raises PenstockError."""

    def end(self) -> None:
        """Take it away. Raises PenstockError."""


class Presence:
    """Keeps up `keepers` from `start` to `leave`; without any, it does nothing.

    `instance` and `address` are how what is loaded is named in reports.
    """

    def __init__(
        self, keepers: Sequence[Keeper] = (), instance: str = "", address: str = ""
    ) -> None:
        self._keepers = list(keepers)
        self._instance = instance
        self._address = address
        self._rows: list[Loaded] = []
        self._troubles: dict[Keeper, str] = {}
        self._changed = threading.Event()
        self._leaving = threading.Event()
        # A daemon: an agent that does not answer must not delay the exit.
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        if self._keepers:
            self._thread.start()

    def show(self, deployments: Sequence[Deployment]) -> None:
        """Tell what is loaded now; a change is reported at once."""
        rows = [self._row(deployment) for deployment in deployments]
        if rows != self._rows:
            self._rows = rows
            self._changed.set()

    def leave(self) -> None:
        """Begin to take everything away; does not wait."""
        self._leaving.set()
        self._changed.set()

    def join(self, patience: float) -> None:
        """Wait until it is taken away, up to `patience` seconds. Consul forgets the rest itself."""
        self.leave()
        if self._thread.is_alive():
            self._thread.join(patience)

    def _row(self, deployment: Deployment) -> Loaded:
        active = deployment.generation
        about = (deployment.model, deployment.alias, self._instance, self._address)
        if active is None:
            return Loaded(*about, revision=0, live=None, note=deployment.note)
        since = dt.datetime.fromtimestamp(active.since, dt.UTC).isoformat(timespec="seconds")
        return Loaded(*about, active.head.revision, active.reference, since, deployment.note)

    def _run(self) -> None:
        while not self._leaving.is_set():
            self._changed.clear()
            rows = self._rows
            for keeper in self._keepers:
                self._try(keeper, rows)
            if not self._leaving.is_set():
                # Instances that started together do not stay together.
                self._changed.wait(BEAT * random.uniform(0.8, 1.0))
        for keeper in self._keepers:
            self._try(keeper, None)

    def _try(self, keeper: Keeper, rows: list[Loaded] | None) -> None:
        """Keep it up with `rows`, or end it with None; what fails is logged once."""
        trouble = ""
        try:
            if rows is None:
                keeper.end()
            else:
                keeper.keep(rows)
        except PenstockError as error:
            trouble = str(error)
        except Exception:
            # A defect here must not end the reports of this instance for good.
            log.exception("defect in a report to Consul")
        if trouble and trouble != self._troubles.get(keeper):
            log.warning("not reported to Consul", reason=trouble)
        self._troubles[keeper] = trouble


def open_presence(
    settings: Settings, wanted: Sequence[tuple[str, str]], bound: tuple[str, int]
) -> Presence:
    """The presence of a service of `wanted` (model, alias) that listens at `bound`.

    Raises:
        ConfigError: it is to register, and no Consul is named.
    """
    if not is_named():
        if settings.serving_register:
            raise ConfigError(
                "PENSTOCK_SERVING_REGISTER is set, and there is no Consul to register in",
                "CONSUL_HTTP_ADDR is not set",
                "Set it to the address of the agent on this machine, such as http://127.0.0.1:8500.",
            )
        return Presence()
    from registry.consul.client import Consul
    from serving.registration import Registration, describe, instance_name

    consul = Consul(Access.from_environment())
    instance = instance_name(bound[1])
    keepers: list[Keeper] = [ConsulReport(consul, f"penstock/{scope(settings)}", instance)]
    if settings.serving_register:
        service = describe(
            wanted,
            bound,
            settings.serving_advertise,
            instance,
            bool(settings.serving_tls_certificate),
        )
        keepers.append(Registration(consul, service))
    host = settings.serving_advertise or bound[0]
    return Presence(keepers, instance, f"{f'[{host}]' if ':' in host else host}:{bound[1]}")
