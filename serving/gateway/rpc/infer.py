"""Inference by gRPC: one request and one answer, or a stream of both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from serving.errors import DeadlinePassed, RequestError
from serving.gateway.inference import Inference
from serving.gateway.parts import Parts
from serving.gateway.protocols import oip
from serving.gateway.rpc import translate
from serving.gateway.rpc.exchange import RpcExchange
from serving.gateway.rpc.schema import MESSAGES
from serving.gateway.work import Work

_Part = MESSAGES["ModelStreamInferResponse"]
#: Requests of one stream that may be under way; the next is read when the first is answered.
DEPTH = 64


class Infer:
    """Admits requests and waits until their rows are computed."""

    def __init__(self, parts: Parts) -> None:
        self._catalog = parts.catalog
        self._clock = parts.clock
        self._timeout = parts.options.request_timeout
        self._inference = Inference(parts.catalog, parts.clock, self._timeout)
        self._sampler = parts.sampler

    async def one(self, call: RpcExchange, message: Any, remaining: float | None) -> Any:
        """Answer a ModelInferRequest of `call` whose client waits for `remaining` seconds more.

        A client that goes away cancels this, and its rows are dropped. Raises RequestError.
        """
        version = message.model_version or None
        dispatcher, served = self._catalog.active(message.model_name, version)
        request = translate.request_of(message)
        oip.check_outputs(request, served.signature)
        inputs = oip.inputs_of(request, served.encoder)
        timeout = min(request.timeout or self._timeout, self._timeout)
        if remaining is not None:
            timeout = min(timeout, remaining)
        if timeout <= 0:
            raise DeadlinePassed("the deadline of the request has passed")
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def finish(_: Work) -> None:
            if not settled.done():
                settled.set_result(None)

        deadline = self._clock() + timeout
        rows, encoding = served.rows_of(inputs), served.entry.encoding
        work = Work(rows, encoding, inputs, deadline, finish, request.priority)
        if self._sampler is not None:
            self._sampler.watch(work, call.names, served)
        dispatcher.submit(work)
        try:
            await settled
        except asyncio.CancelledError:
            dispatcher.cancel(work)
            raise
        if work.error is not None or work.result is None:
            raise work.error or RequestError("the request was dropped")
        self._inference.count(work)
        call.served = work.pin
        return translate.answer(work.pin, request, work.result)


class Stream:
    """One ModelStreamInfer: answers in the order of the requests, which run side by side."""

    def __init__(
        self,
        infer: Infer,
        call: RpcExchange,
        requests: AsyncIterator[Any],
        remaining: float | None,
    ) -> None:
        self._infer = infer
        self._call = call
        self._requests = requests
        loop = asyncio.get_running_loop()
        self._ends = loop.time() + remaining if remaining is not None else None
        self._under_way: asyncio.Queue[asyncio.Task[Any] | None] = asyncio.Queue(DEPTH)

    async def answers(self) -> AsyncIterator[Any]:
        """One part for each request; what goes wrong with a request is told in its part."""
        reading = asyncio.create_task(self._read())
        task: asyncio.Task[Any] | None = None
        try:
            while (task := await self._under_way.get()) is not None:
                yield await task
            await reading
        finally:
            reading.cancel()
            while task is not None:
                task.cancel()
                task = None if self._under_way.empty() else self._under_way.get_nowait()

    async def _read(self) -> None:
        try:
            async for message in self._requests:
                await self._under_way.put(asyncio.create_task(self._part(message)))
        finally:
            # An answer may be waited for after the last request, or after the client has gone.
            await self._under_way.put(None)

    async def _part(self, message: Any) -> Any:
        loop = asyncio.get_running_loop()
        remaining = self._ends - loop.time() if self._ends is not None else None
        try:
            return _Part(infer_response=await self._infer.one(self._call, message, remaining))
        except RequestError as error:
            # The id tells the client which of its requests it was.
            return _Part(error_message=str(error), infer_response={"id": message.id})
