"""Consul, where `CONSUL_HTTP_ADDR` is set: reached as its own command reaches it.

This much is light to import; `registry.consul.client`, which brings the HTTP library, is imported
where Consul is used.
"""

from __future__ import annotations

from registry.consul.access import Access, is_named
from registry.consul.errors import Denied, NoLeader

__all__ = ["Access", "Denied", "NoLeader", "is_named"]
