"""The entrance for HTTP, put together."""

from __future__ import annotations

import asyncio

from serving.encryption import open_encryption
from serving.gateway.access import AccessLog
from serving.gateway.app import App
from serving.gateway.fast import FastPath
from serving.gateway.inference import Inference
from serving.gateway.parts import Parts
from serving.gateway.server import HttpServer, Limits


def http_server(parts: Parts) -> HttpServer:
    """The server of a gateway that speaks HTTP. Raises ConfigError: the certificate is of no use."""
    options = parts.options
    limits = Limits(
        options.max_header, options.max_body, options.read_timeout, options.idle_timeout
    )
    app = _app(parts)
    # Where each request must show its token, each is looked at; what is encrypted, the transport reads.
    plain = not options.tokens
    bare = plain and not options.tls_certificate
    seats, loop = options.max_connections, asyncio.get_running_loop()
    return HttpServer(
        app.handle,
        limits,
        options.max_connections,
        parts.clock,
        parts.door.admit,
        open_encryption(options.tls_certificate, options.tls_key),
        app.gather if plain else lambda _: None,
        FastPath.open(seats, loop) if bare else None,
    )


def _app(parts: Parts) -> App:
    options = parts.options
    return App(
        parts.catalog,
        Inference(
            parts.catalog,
            parts.clock,
            options.request_timeout,
            parts.sampler,
            asyncio.get_running_loop().call_soon,
        ),
        parts.metrics,
        parts.state,
        parts.look_again,
        options.max_body,
        parts.scraping,
        AccessLog(options.access_log, parts.metrics) if options.access_log else None,
    )
