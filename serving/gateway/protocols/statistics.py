"""Triton's statistics extension, from the counters that the metrics show.

Times are sums in nanoseconds. What is not measured apart is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from serving.gateway.metrics import Metrics
from serving.gateway.served import Served

_encode = msgspec.json.Encoder().encode


def answer(models: Iterable[Served], metrics: Metrics) -> bytes:
    """The body of `GET /v2/models/stats`, and of one model's `/stats`."""
    return _encode({"model_stats": [_of(served, metrics) for served in models]})


def _of(served: Served, metrics: Metrics) -> dict[str, Any]:
    def count(name: str) -> int:
        return int(metrics.value(name, served.labels))

    requests, batches = count("request_success_total"), count("exec_count_total")

    def spent(times: int, name: str) -> dict[str, int]:
        return {"count": times, "ns": count(name) * 1000}

    return {
        "name": served.announced.model,
        "version": served.version,
        "inference_count": count("count_total"),
        "execution_count": batches,
        "inference_stats": {
            "success": spent(requests, "request_duration_us_total"),
            "queue": spent(requests, "queue_duration_us_total"),
            "compute_infer": spent(batches, "compute_infer_duration_us_total"),
        },
    }
