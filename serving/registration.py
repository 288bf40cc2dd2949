"""Registration: this service in Consul's catalogue, with checks that its agent makes.

Under Nomad the job's `service` block does this. Elsewhere the service does it itself, when
`PENSTOCK_SERVING_REGISTER` says so.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Sequence
from typing import Any

from registry.aliases.loaded import Loaded
from registry.consul.client import Consul
from registry.errors import PenstockError
from registry.logs import get_logger

log = get_logger(__name__)
#: The name in the catalogue; the policy `nomad/policies/consul/serving.hcl` names it too.
SERVICE = "penstock-serving"
#: How often the agent asks whether it lives and is ready, and when it forgets one that does not.
INTERVAL = "2s"
FORGOTTEN = "10m"


def instance_name(port: int) -> str:
    """A name for this process that no other has: the allocation under Nomad, or host, port, pid."""
    allocation = os.environ.get("NOMAD_ALLOC_ID")
    if allocation:
        return allocation
    host = socket.gethostname().partition(".")[0].lower() or "host"
    return f"{host}-{port}-{os.getpid()}-{os.urandom(2).hex()}"


def describe(
    wanted: Sequence[tuple[str, str]],
    bound: tuple[str, int],
    advertised: str,
    instance: str,
    encrypted: bool = False,
) -> dict[str, Any]:
    """The service as Consul's agent takes it (`/v1/agent/service/register`).

    Its id is made of host and port: started again there, it takes the place of one that died.

    Args:
        wanted: the aliases that are served, (model, alias).
        bound: address and port of the listener.
        advertised: the address for clients; empty: the bound one, or the agent's if that is any.
        instance: see `instance_name`.
        encrypted: whether the endpoint speaks TLS; the agent then does not ask who it is.
    """
    host, port = bound
    anywhere = host == "" or _is_any(host)
    reached = advertised or ("127.0.0.1" if anywhere else host)
    url = f"http{'s' if encrypted else ''}://{f'[{reached}]' if ':' in reached else reached}:{port}/v2/health"
    node = socket.gethostname().partition(".")[0].lower() or "host"
    service: dict[str, Any] = {
        "ID": f"{SERVICE}-{node}-{port}",
        "Name": SERVICE,
        "Port": port,
        "Tags": [f"{model}@{alias}" for model, alias in wanted],
        "Meta": {"instance": instance, "models": " ".join(f"{m}@{a}" for m, a in wanted)},
        "Checks": [_check("live", url), _check("ready", url)],
    }
    address = advertised or ("" if anywhere else host)
    return {**service, "Address": address} if address else service


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _check(name: str, url: str) -> dict[str, Any]:
    return {
        "Name": name,
        "HTTP": f"{url}/{name}",
        "Interval": INTERVAL,
        "TLSSkipVerify": url.startswith("https:"),
        "Timeout": "3s",
        "DeregisterCriticalServiceAfter": FORGOTTEN,
    }


class Registration:
    """Keeps `service` in the catalogue of the agent that `consul` is."""

    def __init__(self, consul: Consul, service: dict[str, Any]) -> None:
        self._consul = consul
        self._service = service
        self._path = f"/v1/agent/service/{service['ID']}"

    def keep(self, _: Sequence[Loaded]) -> None:
        """Register, unless this instance is registered. An agent that lost its data is told again."""
        found = self._consul.call("GET", self._path).document
        if found and found.get("Meta", {}).get("instance") == self._service["Meta"]["instance"]:
            return
        self._consul.call("PUT", "/v1/agent/service/register", (), self._service)
        log.info("registered in Consul", service=self._service["ID"])

    def end(self) -> None:
        """Deregister, unless another process has taken the place."""
        try:
            found = self._consul.call("GET", self._path).document
        except PenstockError:
            found = self._service
        if found and found.get("Meta", {}).get("instance") == self._service["Meta"]["instance"]:
            self._consul.call("PUT", f"/v1/agent/service/deregister/{self._service['ID']}")
