"""The way in: serve models until told to stop."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TextIO

import msgspec

from registry.aliases import open_heads
from registry.aliases.decision import parse_alias
from registry.errors import ConfigError, UsageError
from registry.sentry import report_errors
from registry.settings import Settings
from serving.decisions import Recorder
from serving.deployment import Deployment
from serving.encryption import open_encryption
from serving.listeners import open_listeners
from serving.options import Options
from serving.pointer import Pointers
from serving.presence import open_presence
from serving.source import Source
from serving.supervisor import Supervisor
from serving.tokens import open_tokens


def serve(
    settings: Settings,
    models: Sequence[str],
    *,
    address_file: Path | None = None,
    out: TextIO | None = None,
) -> None:
    """Serve `models`, each `name` or `name@alias` (champion), until SIGTERM or SIGINT.

    Writes one line with the URL to `out` (standard output) as soon as the port is open, and one
    when every model is ready. `address_file` receives `host:port` once the port is open, which is
    how a caller learns the port when the setting is 0.

    Raises:
        UsageError: a name is malformed, or no model or one model twice was asked for.
        Refused: the address is open to other machines and that was not asked for by name, or the
            clients' tokens may not be read.
        ConfigError: the address cannot be bound, the clients' tokens are not there, or the
            certificate cannot be used.
        Temporary: the clients' tokens are in Vault, which is sealed or out of reach.
    """
    wanted = parse_models(models)
    report_errors(settings, at_once=True)
    options = with_log_folder(Options.from_settings(settings), Path(settings.var))
    heads = open_heads(settings)
    var = _folder(settings)
    source = Source(settings, var / "artifacts")
    source.open()
    pointers = Pointers(var / "pointers")
    source.copies.protect(pointers.all)
    options.check_bind()  # before the tokens, which may be asked of Vault
    options.tell_exposure()
    tokens = open_tokens(settings)
    encrypted = open_encryption(options.tls_certificate, options.tls_key) is not None
    listeners = open_listeners(options)
    url = _url(listeners.address, encrypted)
    if address_file is not None:
        _write_address(address_file, url)
    say = partial(print, file=out or sys.stdout, flush=True)
    where = f"{url}/"
    if listeners.grpc_address is not None:
        where += f" and for gRPC at {_url(listeners.grpc_address, False).removeprefix('http://')}"
    say(f"penstock serves {', '.join(f'{m}@{a}' for m, a in wanted)} at {where} (not ready yet)")

    def on_ready(deployments: list[Deployment]) -> None:
        live = ", ".join(_describe(deployment) for deployment in deployments)
        say(f"ready: {url}/ serves {live}")

    supervisor = Supervisor(
        options,
        wanted,
        heads,
        source,
        pointers,
        listeners,
        on_ready,
        open_presence(settings, wanted, listeners.address),
        Recorder(settings, source.store).go_back,
        tokens,
    )
    asyncio.run(supervisor.run())


def with_log_folder(options: Options, var: Path) -> Options:
    """`options` with the folder of the request log, which is there, if one is to be written.

    Raises:
        ConfigError: the folder cannot be made.
    """
    if not options.request_log:
        return options
    folder = Path(options.request_log_folder or var / "requests").absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the request log cannot be written to {folder}",
            error.strerror or str(error),
            "Set PENSTOCK_SERVING_REQUEST_LOG_FOLDER, or PENSTOCK_SERVING_REQUEST_LOG=0.",
        ) from None
    return msgspec.structs.replace(options, request_log_folder=str(folder))


def parse_models(models: Sequence[str]) -> list[tuple[str, str]]:
    """`["flights@champion"]` as `[("flights", "champion")]`. Raises UsageError."""
    wanted = [parse_alias(text) for text in models]
    names = [model for model, _ in wanted]
    if not wanted or len(set(names)) != len(names):
        raise UsageError(
            "a service needs one alias of each model",
            f"asked for was {', '.join(models) or 'nothing'}",
            "Write model@alias, for example flights@champion.",
        )
    return wanted


def _folder(settings: Settings) -> Path:
    """Where this machine keeps pointers and fetched artifacts of one environment of one store."""
    scope = hashlib.sha256(f"{settings.store}\n{settings.environment}".encode()).hexdigest()[:12]
    name = settings.environment.replace("/", "-")
    return Path(settings.var).absolute() / "serving" / f"{name}-{scope}"


def _url(address: tuple[str, int], encrypted: bool) -> str:
    host, port = address[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http{'s' if encrypted else ''}://{shown}:{port}"


def _write_address(path: Path, url: str) -> None:
    """Write `host:port` so that a reader sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_path = path.with_name(f".{path.name}.{os.getpid()}")
    partial_path.write_text(url.partition("://")[2] + "\n")
    partial_path.replace(path)


def _describe(deployment: Deployment) -> str:
    generation = deployment.generation
    assert generation is not None
    version = generation.reference.version[:16]
    revision = generation.head.revision
    return f"{deployment.model}@{deployment.alias} revision {revision} version {version}"
