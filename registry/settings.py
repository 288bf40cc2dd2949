"""Every setting of penstock in one table, read from the environment.

A flag of a command comes before the environment, which comes before the default. Settings that
Nomad, Consul, Vault and S3 clients already name keep those names and are read by those clients.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.errors import ConfigError
from registry.identity import checked_identity, user
from registry.parsers import (
    environment_name,
    flag,
    job_prefix,
    level,
    names,
    niceness,
    non_negative,
    non_negative_int,
    port,
    positive,
    positive_int,
    reload_policy,
    retention,
    sample,
    secret_place,
    share,
)


@dataclass(frozen=True)
class Setting:
    """One row: the attribute's name, how text becomes a value, its default, what it means."""

    name: str
    parse: Callable[[str], Any]
    default: Callable[[], Any]
    doc: str
    secret: bool = False
    #: It says where a secret is. What it is set to is shown, unless that is malformed: then somebody
    #: may have put the secret itself there.
    place: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"PENSTOCK_{self.name.upper()}"


def _row(name: str, parse: Callable[[str], Any], default: Any, doc: str) -> Setting:
    return Setting(name, parse, default if callable(default) else lambda: default, doc)


def _place(name: str, doc: str) -> Setting:
    return Setting(name, secret_place, lambda: None, f"where: {doc}", place=True)


TABLE: tuple[Setting, ...] = (
    # the registry
    _row("store", str, "var/store", "artifact store: a folder, or s3://bucket/prefix"),
    _row(
        "environment",
        environment_name,
        lambda: f"dev/{user()}",
        "root inside the store: dev/<you>, staging, prod",
    ),
    _row("var", Path, lambda: Path("var"), "folder of this machine: heads, jobs, caches"),
    _row("forest", flag, True, "run LightGBM models natively; off: through LightGBM's library"),
    _row("log_level", level, "warning", "debug, info, warning or error"),
    _row("who", checked_identity, None, "who acts, in decisions and runs; default: user@host"),
    # the pipeline
    # Deadlines count from the record of an attempt, so a small machine's queue is kept short.
    _row("workers", positive_int, 16, "steps of a pipeline that may wait on jobs at once"),
    _row("job_timeout", non_negative, 3600.0, "seconds after which a job may no longer commit"),
    _row("retries", positive_int, 3, "attempts for one step within a run"),
    _row("replacements", non_negative_int, 5, "attempts more, for jobs whose machine was lost"),
    _row("binned_mb", non_negative_int, 1024, "MiB of binned training rows kept; 0: none"),
    # what work costs, in any one currency
    _row("price_cpu_hour", non_negative, 0.0, "price of a processor for an hour, for `cost`"),
    _row("price_gib_hour", non_negative, 0.0, "price of a GiB of memory for an hour, for `cost`"),
    # the local runner
    _row("local_cpus", positive_int, None, "processors for all jobs; default: the machine's"),
    _row("local_memory_mb", positive_int, None, "MiB for all jobs; default: the machine's"),
    _row("local_log_mb", positive_int, 64, "MiB that the log of one job may have"),
    _row("local_grace", non_negative, 5.0, "seconds a job has to end when stopped"),
    # GPUs, for jobs of the size gpu: docs/how-to/gpu.md
    _row(
        "gpu_ledger",
        Path,
        lambda: Path("/tmp/penstock-gpus"),  # noqa: S108 - the same for all users of a machine
        "folder that all jobs of a machine share: who trains on which GPU",
    ),
    _row("gpu_wait", non_negative, 60.0, "seconds a training waits for a GPU; then the processor"),
    _row("gpu_free_mb", non_negative_int, 2048, "MiB that must be free on a GPU to train on it"),
    # the Nomad runner
    _row(
        "nomad_prefix",
        job_prefix,
        "penstock",
        "what the ids of Nomad jobs of this team start with",
    ),
    _row("services_nomad_addr", str, None, "Nomad of the services; default: NOMAD_ADDR"),
    _row("nomad_in_flight", positive_int, 50, "jobs of one pipeline that Nomad may have at once"),
    # collection
    _row("gc_delay", non_negative, 86400.0, "seconds from the plan of a collection to deleting"),
    _row("gc_keep_days", non_negative, 30.0, "days for which artifacts, pins, decisions hold"),
    _row("gc_keep", retention, None, "days for families of their own: predictions=365,source=90"),
    _row(
        "gc_revisions", positive_int, 5, "newest revisions of each alias that hold what they name"
    ),
    # secrets: where each is, never what it is (docs/how-to/secrets.md)
    _place("store_secret", "credentials of the store; default: the AWS_ variables"),
    _place("sentry_secret", "the DSN that errors are reported to; default: SENTRY_DSN, or nowhere"),
    _place("serving_tokens", "tokens of the endpoint's clients, by name; default: no tokens"),
    _row("secrets_refresh", positive, 60.0, "seconds until a secret in Vault is read again"),
    _row("secrets_keep", positive, 86400.0, "seconds a secret is used while Vault is away"),
    _row("vault_token_file", Path, None, "file with a token for Vault that others renew"),
    _row("vault_role_id", str, None, "AppRole to log in to Vault with"),
    _row("vault_secret_id_file", Path, None, "file with the AppRole's secret id"),
    _row("vault_secret_id_wrapped", flag, False, "that file holds a wrapping token instead"),
    _row("vault_approle_mount", str, "approle", "where AppRole is mounted below auth/"),
    _row("vault_jwt_role", str, None, "role to log in to Vault with, by a signed identity"),
    _row("vault_jwt_file", Path, None, "file with the identity; default: Nomad's of this task"),
    _row("vault_jwt_mount", str, "jwt-nomad", "where identities are mounted below auth/"),
    # serving
    _row("serving_host", str, "127.0.0.1", "address that the endpoint is bound to"),
    _row("serving_port", port, 8080, "port of the endpoint; 0 takes any free one"),
    _row("serving_grpc_port", port, None, "port for gRPC; 0: any free one; default: no gRPC"),
    _row(
        "serving_allow_public",
        flag,
        False,
        "allow an address that other machines can reach; needs PENSTOCK_SERVING_TOKENS",
    ),
    _row(
        "serving_tls_certificate", str, "", "file with the certificate chain (PEM); unset: no TLS"
    ),
    _row("serving_tls_key", str, "", "file with the key of that certificate (PEM)"),
    _row("serving_open_metrics", flag, False, "answer GET /metrics without a token"),
    _row("serving_gateways", positive_int, 1, "processes that speak HTTP with clients"),
    _row("serving_workers", positive_int, 2, "worker processes for each model"),
    _row("serving_threads", positive_int, 1, "threads of one worker"),
    _row("serving_stages", positive_int, 2, "processes for each stage of a model"),
    _row("serving_payload_mb", positive_int, 64, "MiB of payloads that one gateway holds"),
    _row("serving_max_batch_size", positive_int, 64, "rows that a worker predicts at once"),
    _row("serving_max_queue_delay_ms", non_negative, 0.0, "ms a row may wait for company"),
    _row("serving_max_queue_wait_ms", non_negative, 0.0, "ms a request may wait; 0: its deadline"),
    _row("serving_max_queue_rows", positive_int, 4096, "rows of a model that may wait"),
    _row("serving_inline_rows", non_negative_int, 8, "rows that an idle gateway scores itself"),
    _row("serving_request_timeout", positive, 30.0, "seconds from a request to its answer"),
    _row("serving_read_timeout", positive, 20.0, "seconds in which a request must arrive"),
    _row("serving_idle_timeout", positive, 75.0, "seconds an unused connection is kept"),
    _row("serving_max_body", positive_int, 16 * 1024 * 1024, "bytes of a request's body"),
    _row("serving_max_header", positive_int, 16 * 1024, "bytes of a request's headers"),
    _row("serving_max_connections", positive_int, 4096, "connections open at once"),
    _row("serving_batch_timeout", positive, 10.0, "seconds after which a batch's worker hangs"),
    _row("serving_breaker_deaths", non_negative_int, 5, "workers lost in a row: out; 0: never"),
    _row("serving_breaker_window", positive, 60.0, "seconds in which those deaths must lie"),
    _row("serving_restart_wait", positive, 30.0, "longest wait before a worker is started again"),
    _row("serving_load_timeout", positive, 60.0, "seconds a worker may take to load a model"),
    _row("serving_load_attempts", positive_int, 3, "tries to load a model that crashes or hangs"),
    _row(
        "serving_load_nice",
        niceness,
        5,
        "how much nicer a worker is while it loads beside busy cores, 0 to 19",
    ),
    _row("serving_allow_schema_change", flag, False, "serve models that take other inputs"),
    _row("serving_memory_mb", positive_int, None, "MiB for all models; default: what is free"),
    _row("serving_memory_factor", positive, 4.0, "memory of an unknown model, over its files"),
    _row("serving_reload_policy", reload_policy, "availability", "or resource: old goes first"),
    _row("serving_rollback_hold", non_negative, 60.0, "seconds the model before is kept loaded"),
    _row("serving_trial_requests", non_negative_int, 100, "first requests that are on trial"),
    _row("serving_trial_failures", share, 0.5, "share of them that sends a model back; 1: never"),
    _row("serving_trial_latency_ms", non_negative, 0.0, "ms above which one counts; 0: none"),
    _row("serving_quiescence", non_negative, 5.0, "seconds without change after a first change"),
    _row("serving_max_swaps", non_negative_int, 6, "changes of a model in a period; 0: any"),
    _row("serving_swap_period", positive, 60.0, "seconds of that period"),
    _row("serving_splay", non_negative, 0.0, "seconds, drawn up to this, before a model is got"),
    _row("serving_cache_keep", non_negative_int, 5, "unused artifacts that this machine keeps"),
    _row("serving_drain_delay", non_negative, 0.0, "seconds from 'not ready' to closing the port"),
    _row("serving_drain_timeout", positive, 25.0, "seconds in which requests may finish"),
    _row(
        "serving_access_log",
        sample,
        0.0,
        "share of the answers, 0 to 1, that get a line in the log",
    ),
    _row("serving_request_log", sample, 0.0, "share of the requests, 0 to 1, kept for `replay`"),
    _row("serving_request_log_folder", str, "", "where; default: requests/ in PENSTOCK_VAR"),
    _row("serving_request_log_file_mb", positive_int, 16, "MiB held before a file is written"),
    _row("serving_request_log_file_seconds", positive, 300.0, "seconds held before that"),
    _row("serving_request_log_max_mb", positive_int, 1024, "MiB of all files; the oldest go"),
    _row("serving_request_log_omit", names, list, "inputs left out of it: age,zip_code"),
    # serving, as Consul shows it: docs/how-to/consul.md
    _row("serving_register", flag, False, "register in Consul; under Nomad the job does that"),
    _row("serving_advertise", str, "", "address for clients; default: the one that is bound"),
)


@dataclass(frozen=True)
class Settings:
    """The settings of this process, and where each came from (attributes: see `TABLE`)."""

    values: Mapping[str, Any]
    origins: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, env: Mapping[str, str] | None = None, **flags: Any) -> Settings:
        """Read `TABLE` from `flags` (None means not given), then `env`, then the defaults.

        Raises:
            ConfigError: a value cannot be used; names the variable and what it accepts.
        """
        source = os.environ if env is None else env
        found = {row.name: _resolve(row, source, flags.get(row.name)) for row in TABLE}
        return cls(
            {name: value for name, (value, _) in found.items()},
            {name: origin for name, (_, origin) in found.items()},
        )

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(name) from None

    def origin(self, name: str) -> str:
        """Where the value of `name` came from: "flag", "environment NAME" or "default"."""
        return self.origins[name]


def _resolve(row: Setting, env: Mapping[str, str], flag: Any) -> tuple[Any, str]:
    if flag is not None:
        return _parse(row, str(flag), f"flag --{row.name.replace('_', '-')}"), "flag"
    if env.get(row.variable):
        return _parse(row, env[row.variable], row.variable), f"environment {row.variable}"
    return row.default(), "default"


def _parse(row: Setting, text: str, where: str) -> Any:
    try:
        return row.parse(text)
    except ValueError as error:
        shown = "a value that is not shown" if row.place or row.secret else f"the value {text!r}"
        raise ConfigError(f"{where} has {shown}", str(error), row.doc) from None
