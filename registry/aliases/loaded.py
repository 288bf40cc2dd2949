"""What each serving instance has loaded: wanted is what the log says, live is what they report.

An instance keeps one key for each of its models, bound to a session of its own: when it dies, or
Consul does not hear from it, the keys go. They are also a second witness of revisions: a new one
lies above every revision that an instance has loaded, whatever became of log and heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from registry.aliases.heads import scope
from registry.artifacts.manifest import Reference
from registry.artifacts.records import decode_record, encode_record
from registry.errors import BadData, Temporary
from registry.logs import get_logger

if TYPE_CHECKING:
    from registry.consul.client import Consul, Entry
    from registry.settings import Settings

_log = get_logger("registry.aliases")
#: Seconds that a session lives without being renewed; Consul may end it up to twice as late.
TTL = 15


class Loaded(msgspec.Struct, frozen=True):
    """One model of one instance. Revision 0 and `live` None: it has loaded nothing yet.

    `since` is ISO 8601 in UTC. `note` tells how the newest reload ended, unless it is live.
    """

    model: str
    alias: str
    instance: str
    address: str
    revision: int
    live: Reference | None
    since: str = ""
    note: str = ""


class Instances(Protocol):
    """The instances of one environment."""

    def all(self) -> list[Loaded]:
        """What is loaded, sorted by model, alias and instance.

        Raises:
            Temporary, Refused: it cannot be learnt.
        """


class NoInstances:
    """Where nothing is watched but files, instances do not report."""

    def all(self) -> list[Loaded]:
        return []


def open_instances(settings: Settings) -> Instances:
    """The instances that report to Consul; without it, none."""
    from registry.consul import Access, is_named

    if not is_named():
        return NoInstances()
    from registry.consul.client import Consul

    return ConsulInstances(Consul(Access.from_environment()), f"penstock/{scope(settings)}")


def highest(instances: Instances, model: str, alias: str) -> int:
    """The highest revision of an alias that any instance has loaded; 0 for none."""
    found = (row for row in instances.all() if (row.model, row.alias) == (model, alias))
    return max((row.revision for row in found), default=0)


class ConsulInstances:
    """Instances whose keys lie below `prefix`; see `Instances`."""

    def __init__(self, consul: Consul, prefix: str) -> None:
        self._consul = consul
        self._prefix = prefix

    def all(self) -> list[Loaded]:
        folder = f"{self._prefix}/loaded/"
        # A listing leaves out what the token must not read, without a word; one key is refused.
        self._consul.get(folder)
        found = map(_decoded, self._consul.list(folder))
        rows = [row for row in found if row is not None]
        return sorted(rows, key=lambda row: (row.model, row.alias, row.instance))


def _decoded(entry: Entry) -> Loaded | None:
    try:
        return decode_record(entry.value, Loaded, entry.key, "report of an instance")
    except BadData as error:
        _log.warning("report of an instance ignored", key=entry.key, reason=str(error))
        return None


class ConsulReport:
    """The keys of one instance, and the session that they are bound to. Used by one thread."""

    def __init__(self, consul: Consul, prefix: str, instance: str) -> None:
        self._consul = consul
        self._prefix = prefix
        self._instance = instance
        self._session = ""

    def keep(self, rows: Sequence[Loaded]) -> None:
        """Renew the session, or make one where it is gone; put every key that is not there.

        Raises:
            Temporary, Refused: Consul is away, or does not allow it. Call again later.
        """
        if not (self._session and self._renewed()):
            self._session = self._created()
        for row in rows:
            self._put(row)

    def end(self) -> None:
        """End the session, and with it the keys."""
        if self._session:
            self._consul.call("PUT", f"/v1/session/destroy/{self._session}")
            self._session = ""

    def _renewed(self) -> bool:
        reply = self._consul.call("PUT", f"/v1/session/renew/{self._session}")
        return reply.status == 200

    def _created(self) -> str:
        # No delay after a lost session: the keys are this instance's own, nobody competes.
        wanted = {
            "Name": f"penstock {self._instance}",
            "TTL": f"{TTL}s",
            "Behavior": "delete",
            "LockDelay": "0s",
        }
        reply = self._consul.call("PUT", "/v1/session/create", (), wanted, absent=False)
        return str(reply.document["ID"])

    def _put(self, row: Loaded) -> None:
        key = f"{self._prefix}/loaded/{row.model}/{self._instance}"
        data = encode_record(row)
        entry = self._consul.get(key).entry
        if entry is not None and (entry.session, entry.value) == (self._session, data):
            return
        if not self._consul.put(key, data, acquire=self._session):
            raise Temporary(f"{key} is held by another session", "", "It ends by itself.")
