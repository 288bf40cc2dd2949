"""What `penstock doctor` asks of Consul."""

from __future__ import annotations

from collections.abc import Iterator

from registry.aliases.heads import scope
from registry.aliases.loaded import ConsulInstances
from registry.checks import Check
from registry.consul import Access, is_named
from registry.settings import Settings

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def check_consul(settings: Settings) -> Iterator[Check]:
    """Consul answers, has a leader, and lets this token read heads; how many instances report."""
    if not is_named():
        found = "CONSUL_HTTP_ADDR is not set: heads of aliases are files below PENSTOCK_VAR"
        yield Check("consul", "ok", found)
        return
    from registry.consul.client import Consul

    access = Access.from_environment()
    consul = Consul(access)
    prefix = f"penstock/{scope(settings)}"
    # Without a leader, or without the right, this raises what to do about it.
    consul.get(f"{prefix}/heads/flights/champion")
    instances = {row.instance for row in ConsulInstances(consul, prefix).all()}
    found = f"{access.url}: heads below {prefix}, instances that report: {len(instances)}"
    yield Check("consul", "ok", found)
    yield from _look_at_tls(access)


def _look_at_tls(access: Access) -> Iterator[Check]:
    if access.host in _LOOPBACK:
        return
    if access.scheme != "https":
        hint = "Use the agent of this machine, or https."
        yield Check("consul", "warn", f"the token goes to {access.url} in the clear", hint)
    elif access.verify is False:
        hint = "Unset CONSUL_HTTP_SSL_VERIFY, and name the authority in CONSUL_CACERT."
        yield Check("consul", "warn", f"nobody verifies that {access.url} is Consul", hint)
