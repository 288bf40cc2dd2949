"""What the service is told: the serving rows of the settings table as one typed value."""

from __future__ import annotations

import ipaddress

import msgspec

from registry.errors import Refused
from registry.logs import get_logger
from registry.settings import Settings

log = get_logger(__name__)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one service; seconds, bytes and rows unless the name says otherwise."""

    host: str = "127.0.0.1"
    port: int = 8080
    #: Port of the gateway that speaks gRPC; None: there is none.
    grpc_port: int | None = None
    allow_public: bool = False
    #: Files; empty: no TLS.
    tls_certificate: str = ""
    tls_key: str = ""
    open_metrics: bool = False
    #: Whether clients must show a token; which ones are known goes its own way.
    tokens: bool = False
    gateways: int = 1
    workers: int = 2
    threads: int = 1
    stages: int = 2
    payload_mb: int = 64
    max_batch_size: int = 64
    max_queue_delay_ms: float = 0.0
    max_queue_wait_ms: float = 0.0
    max_queue_rows: int = 4096
    #: Rows that a gateway may predict itself while its workers are idle; 0: never.
    inline_rows: int = 8
    request_timeout: float = 30.0
    read_timeout: float = 20.0
    idle_timeout: float = 75.0
    max_body: int = 16 * 1024 * 1024
    max_header: int = 16 * 1024
    max_connections: int = 4096
    batch_timeout: float = 10.0
    breaker_deaths: int = 5
    breaker_window: float = 60.0
    restart_wait: float = 30.0
    load_timeout: float = 60.0
    load_attempts: int = 3
    load_nice: int = 5
    allow_schema_change: bool = False
    memory_mb: int | None = None
    memory_factor: float = 4.0
    reload_policy: str = "availability"
    rollback_hold: float = 60.0
    trial_requests: int = 100
    trial_failures: float = 0.5
    trial_latency_ms: float = 0.0
    quiescence: float = 5.0
    max_swaps: int = 6
    swap_period: float = 60.0
    splay: float = 0.0
    cache_keep: int = 5
    drain_delay: float = 0.0
    drain_timeout: float = 25.0
    access_log: float = 0.0
    #: Share of the requests that are logged; 0: there is no request log.
    request_log: float = 0.0
    request_log_folder: str = ""
    request_log_file_mb: int = 16
    request_log_file_seconds: float = 300.0
    request_log_max_mb: int = 1024
    request_log_omit: list[str] = []
    log_level: str = "warning"

    @classmethod
    def from_settings(cls, settings: Settings) -> Options:
        """Read every `serving_<field>` row of `settings`."""
        own = {"log_level": settings.log_level, "tokens": settings.serving_tokens is not None}
        fields = (f for f in cls.__struct_fields__ if f not in own)
        values = {name: getattr(settings, f"serving_{name}") for name in fields}
        return cls(**values, **own)

    @property
    def all_gateways(self) -> int:
        """How many gateways there are, of either kind."""
        return self.gateways + (self.grpc_port is not None)

    def check_bind(self) -> None:
        """Refuse to open a port to other machines unless that was asked for, and tokens are set.

        Raises:
            Refused: `host` is not a loopback address, and `allow_public` is off or clients need no
                token.
        """
        if (self.allow_public and self.tokens) or _is_loopback(self.host):
            return
        raise Refused(
            f"serving on {self.host} would be open to other machines",
            "clients would need no token" if self.allow_public else "nobody asked for that",
            "Serve on 127.0.0.1, or set PENSTOCK_SERVING_ALLOW_PUBLIC=1 and "
            "PENSTOCK_SERVING_TOKENS (docs/how-to/secrets.md).",
        )

    def tell_exposure(self) -> None:
        """Warn if other machines can reach the service and nothing is encrypted."""
        if not self.tls_certificate and not _is_loopback(self.host):
            log.warning(
                "tokens and data cross the network in the clear: this endpoint has no TLS",
                address=self.host,
            )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
