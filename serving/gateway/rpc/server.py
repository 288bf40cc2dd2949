"""The entrance for gRPC: `inference.GRPCInferenceService` on a port of its own."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from registry.logs import get_logger
from serving.errors import ModelFailed, RequestError
from serving.gateway.parts import Parts
from serving.gateway.rpc.calls import Call, Calls
from serving.gateway.rpc.infer import Infer, Stream
from serving.gateway.rpc.schema import CALLS, SERVICE, request_of, response_of
from serving.options import Options

log = get_logger(__name__)

#: Asked by schedulers and load balancers, which hold no token; the answers tell nothing of models.
OPEN = frozenset({"ServerLive", "ServerReady"})
#: Statuses of HTTP in the words of gRPC. What else a client does wrong is INVALID_ARGUMENT.
STATUS = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
Context = Any
"""A `grpc.aio.ServicerContext`; the library has no types."""


class RpcServer:
    """One server; implements `Entrance`. What is read is read strictly, or refused by name."""

    def __init__(self, parts: Parts) -> None:
        self.closing = False
        self._options = parts.options
        self._door = parts.door
        self._metrics = parts.metrics
        self._infer = Infer(parts)
        self._calls = Calls(parts)
        self._server: Any = None
        self._held: socket.socket | None = None

    async def open(self, listener: socket.socket) -> None:
        """Serve where `listener` is bound. It does not listen itself; it keeps the port."""
        self._held = listener
        host, port = listener.getsockname()[:2]
        options = self._options
        self._server = grpc.aio.server(
            options=_limits(options), maximum_concurrent_rpcs=options.max_connections
        )
        self._server.add_generic_rpc_handlers([self._handlers()])
        self._server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        await self._server.start()

    async def close(self) -> None:
        """Refuse new calls; returns when those that are there are answered."""
        if self._server is not None:
            await self._server.stop(self._options.drain_timeout)

    def check_time(self) -> None:
        """Nothing to do: gRPC's library closes idle connections itself."""

    # calls ------------------------------------------------------------------------------------

    def _handlers(self) -> Any:
        made = {name: self._handler(name) for name in CALLS}
        return grpc.method_handlers_generic_handler(SERVICE, made)

    def _handler(self, name: str) -> Any:
        # Requests stay bytes here: the library would tell clients what its parser raised.
        how = {"response_serializer": response_of(name).SerializeToString}
        if name == "ModelStreamInfer":
            return grpc.stream_stream_rpc_method_handler(self._stream, **how)
        answer = self._one if name == "ModelInfer" else self._told(name, self._calls.by_name[name])
        return grpc.unary_unary_rpc_method_handler(answer, **how)

    def _told(self, name: str, call: Call) -> Any:
        async def answer(data: bytes, context: Context) -> Any:
            try:
                if name not in OPEN:
                    self._admit(context)
                return call(_parse(name, data))
            except Exception as error:  # noqa: BLE001 - one request must not end the gateway
                failure = error
            return await self._fail(context, failure)

        return answer

    async def _one(self, data: bytes, context: Context) -> Any:
        try:
            self._admit(context)
            request = _parse("ModelInfer", data)
            return await self._infer.one(request, context.time_remaining())
        except Exception as error:  # noqa: BLE001 - one request must not end the gateway
            failure = error
        return await self._fail(context, failure)

    async def _stream(self, parts: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
        requests = (_parse("ModelStreamInfer", data) async for data in parts)
        stream = Stream(self._infer, requests, context.time_remaining())
        try:
            self._admit(context)
            async for part in stream.answers():
                if part.error_message:
                    self._count_failure(RequestError.status)
                yield part
            return
        except Exception as error:  # noqa: BLE001 - one request must not end the gateway
            failure = error
        await self._fail(context, failure)

    def _admit(self, context: Context) -> None:
        """Raise what the doorkeeper says of the token that this call shows."""
        shown = b""
        for name, value in context.invocation_metadata() or ():
            if name == "authorization":
                shown = value.encode() if isinstance(value, str) else value
        client = self._door.check(shown)
        if isinstance(client, RequestError):
            raise client

    # what goes wrong --------------------------------------------------------------------------

    async def _fail(self, context: Context, error: Exception) -> None:
        """End a call with the status that stands for `error`."""
        if not isinstance(error, RequestError):
            log.error("request failed", exc_info=error)
            error = ModelFailed("the request could not be answered")
        self._count_failure(error.status)
        trailing: tuple[tuple[str, str], ...] = ()
        if error.retry_after is not None:
            trailing = (("grpc-retry-pushback-ms", str(1000 * error.retry_after)),)
        status = STATUS.get(error.status, grpc.StatusCode.INVALID_ARGUMENT)
        await context.abort(status, str(error), trailing)

    def _count_failure(self, status: int) -> None:
        self._metrics.add("request_failure_total", 1, (("status", str(status)),))


def _parse(name: str, data: bytes) -> Any:
    """The request of the call `name`. Raises RequestError."""
    kind = request_of(name)
    try:
        return kind.FromString(data)
    except DecodeError:
        raise RequestError(f"the message is not a {kind.DESCRIPTOR.name}") from None


def _limits(options: Options) -> list[tuple[str, int]]:
    """What the library is told to keep to."""
    return [
        ("grpc.max_receive_message_length", options.max_body),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", options.max_header),
        ("grpc.absolute_max_metadata_size", options.max_header),
        ("grpc.max_connection_idle_ms", int(1000 * options.idle_timeout)),
        ("grpc.so_reuseport", 1),
    ]
