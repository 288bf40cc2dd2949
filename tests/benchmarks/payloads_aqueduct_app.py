"""aqueduct with shared memory: a body goes into a segment, another process sums its bytes.

Run in the environment that the harness of peers has for aqueduct. `BENCH_SHARE` is `stream` (the body
is received into the segment, the shortest way that it offers) or `copy` (`share_value`).
"""

import asyncio
import os
from typing import Any

import numpy as np
import uvloop
from aiohttp import web
from aqueduct import BaseTask, BaseTaskHandler, Flow, FlowStep  # type: ignore[import-not-found]
from aqueduct.integrations.aiohttp import AppIntegrator  # type: ignore[import-not-found]


class Task(BaseTask):  # type: ignore[misc]
    """One payload and its sum."""

    def __init__(self, payload: Any = None) -> None:
        super().__init__()
        self.payload = payload
        self.sum: float | None = None


class Sums(BaseTaskHandler):  # type: ignore[misc]
    """The stage."""

    def handle(self, *tasks: Task) -> None:
        """Sum what each task points at."""
        for task in tasks:
            task.sum = float(np.frombuffer(task.payload, np.uint8).sum(dtype=np.uint32))


async def predict(request: web.Request) -> web.Response:
    """Answer with the sum as text."""
    if os.environ.get("BENCH_SHARE", "stream") == "stream":
        task = Task()
        await task.share_value_with_data(
            field_name="payload", content=request.content, size=request.content_length
        )
    else:
        task = Task(await request.read())
        task.share_value("payload")
    await request.app["flow"].process(task)
    return web.Response(text=repr(task.sum))


async def health(request: web.Request) -> web.Response:
    """Readiness."""
    return web.Response(text="ok")


def main() -> None:
    """Serve at BENCH_PORT."""
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/predict", predict)
    app.router.add_get("/health", health)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)  # the flow starts its tasks before the server
    step = FlowStep(Sums(), nprocs=int(os.environ.get("BENCH_NPROCS", "2")), batch_size=64)
    AppIntegrator(app).add_flow(Flow(step, queue_size=2048))
    web.run_app(
        app, host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), access_log=None, print=None,
        loop=loop,
    )  # fmt: skip


if __name__ == "__main__":
    main()
