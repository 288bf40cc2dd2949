"""The entrance for gRPC: `inference.GRPCInferenceService` on a port of its own."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from registry.logs import get_logger
from serving.encryption import Encryption, open_encryption
from serving.errors import SURPRISES, ModelFailed, RequestError
from serving.gateway import trace
from serving.gateway.access import AccessLog
from serving.gateway.parts import Parts
from serving.gateway.rpc.calls import Call, Calls
from serving.gateway.rpc.exchange import RpcExchange
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
OK = 200
Context = Any
"""A `grpc.aio.ServicerContext`; the library has no types."""


class RpcServer:
    """One server; implements `Entrance`. What is read is read strictly, or refused by name.

    Raises ConfigError: the certificate is of no use.
    """

    def __init__(self, parts: Parts) -> None:
        self.closing = False
        self._options = parts.options
        self._door = parts.door
        self._metrics = parts.metrics
        self._infer = Infer(parts)
        self._calls = Calls(parts)
        share = parts.options.access_log
        self._access = AccessLog(share, parts.metrics) if share else None
        self._encryption = open_encryption(parts.options.tls_certificate, parts.options.tls_key)
        self._server: Any = None
        self._held: socket.socket | None = None

    async def open(self, listener: socket.socket) -> None:
        """Serve where `listener` is bound. It does not listen itself; it keeps the port."""
        self._held = listener
        host, port = listener.getsockname()[:2]
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        options = self._options
        self._server = grpc.aio.server(
            options=_limits(options), maximum_concurrent_rpcs=options.max_connections
        )
        self._server.add_generic_rpc_handlers([self._handlers()])
        if self._encryption is None:
            self._server.add_insecure_port(address)
        else:
            self._server.add_secure_port(address, _credentials(self._encryption))
        await self._server.start()

    async def close(self) -> None:
        """Refuse new calls; returns when those that are there are answered."""
        if self._server is not None:
            await self._server.stop(self._options.drain_timeout)

    def check_time(self) -> None:
        """Follow a renewed certificate; gRPC's library closes idle connections itself."""
        if self._encryption is not None:
            self._encryption.look()

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

    def _told(self, name: str, ask: Call) -> Any:
        async def answer(data: bytes, context: Context) -> Any:
            call = self._begin(name, context)
            try:
                if name not in OPEN:
                    self._admit(call)
                return _answered(call, ask(_parse(name, data)))
            except Exception as error:  # noqa: BLE001 - one request must not end the gateway
                failure = error
            return await self._fail(context, call, failure)

        return answer

    async def _one(self, data: bytes, context: Context) -> Any:
        call = self._begin("ModelInfer", context)
        try:
            self._admit(call)
            request = _parse("ModelInfer", data)
            return _answered(call, await self._infer.one(call, request, context.time_remaining()))
        except Exception as error:  # noqa: BLE001 - one request must not end the gateway
            failure = error
        return await self._fail(context, call, failure)

    async def _stream(self, parts: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
        call = self._begin("ModelStreamInfer", context)
        requests = (_parse("ModelStreamInfer", data) async for data in parts)
        stream = Stream(self._infer, call, requests, context.time_remaining())
        try:
            self._admit(call)
            async for part in stream.answers():
                if part.error_message:
                    self._count_failure(RequestError.status)
                call.sent(part)
                yield part
            call.ended(OK)
            return
        except Exception as error:  # noqa: BLE001 - one request must not end the gateway
            failure = error
        await self._fail(context, call, failure)

    def _begin(self, name: str, context: Context) -> RpcExchange:
        """A call that has come; its names are in its answer from here on."""
        call = RpcExchange(name, context.invocation_metadata() or ())
        if self._access is not None:
            call.observer = self._access.watch()
        context.set_trailing_metadata(call.trailing)
        return call

    def _admit(self, call: RpcExchange) -> None:
        """Raise what the doorkeeper says of the token that this call shows."""
        client = self._door.check(call.authorization)
        if isinstance(client, RequestError):
            raise client
        call.client = client

    # what goes wrong --------------------------------------------------------------------------

    async def _fail(self, context: Context, call: RpcExchange, error: Exception) -> None:
        """End a call with the status that stands for `error`."""
        names = trace.fields(call.names)
        if not isinstance(error, RequestError):
            log.error("request failed", exc_info=error, path=call.path, **names)
            error = ModelFailed("the request could not be answered")
        self._count_failure(error.status)
        if error.status in SURPRISES:
            log.warning("request not answered", status=error.status, reason=str(error), **names)
        trailing = call.trailing
        if error.retry_after is not None:
            trailing += (("grpc-retry-pushback-ms", str(1000 * error.retry_after)),)
        call.ended(error.status)
        status = STATUS.get(error.status, grpc.StatusCode.INVALID_ARGUMENT)
        await context.abort(status, str(error), trailing)

    def _count_failure(self, status: int) -> None:
        self._metrics.add("request_failure_total", 1, (("status", str(status)),))


def _answered(call: RpcExchange, message: Any) -> Any:
    """The message, which is the whole answer to `call`."""
    call.sent(message)
    call.ended(OK)
    return message


def _credentials(encryption: Encryption) -> Any:
    """What the library asks at each handshake; it is told only what it does not know."""
    shown = encryption.pair

    def configuration() -> Any:
        certificate, key = shown
        return grpc.ssl_server_certificate_configuration([(key, certificate)])

    def renewed() -> Any:
        nonlocal shown
        if shown == encryption.pair:
            return None
        shown = encryption.pair
        return configuration()

    return grpc.dynamic_ssl_server_credentials(configuration(), renewed)


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
        ("grpc.server_handshake_timeout_ms", int(1000 * options.read_timeout)),
        ("grpc.so_reuseport", 1),
    ]
