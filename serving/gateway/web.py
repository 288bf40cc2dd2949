"""The entrance for HTTP, put together."""

from __future__ import annotations

from serving.gateway.app import App
from serving.gateway.inference import Inference
from serving.gateway.parts import Parts
from serving.gateway.server import HttpServer, Limits


def http_server(parts: Parts) -> HttpServer:
    """The server of a gateway that speaks HTTP."""
    options = parts.options
    inference = Inference(parts.catalog, parts.metrics, parts.clock, options.request_timeout)
    app = App(
        parts.catalog, inference, parts.metrics, parts.state, parts.look_again, options.max_body
    )
    limits = Limits(
        options.max_header, options.max_body, options.read_timeout, options.idle_timeout
    )
    return HttpServer(app.handle, limits, options.max_connections, parts.clock, parts.door.admit)
