"""Triton's statistics extension, from the counters that the metrics show.

Times are sums in nanoseconds. What is not measured apart is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from serving.gateway.metrics import Histogram
from serving.gateway.served import Served

_encode = msgspec.json.Encoder().encode


def answer(models: Iterable[Served]) -> bytes:
    """The body of `GET /v2/models/stats`, and of one model's `/stats`."""
    return _encode({"model_stats": [_of(served) for served in models]})


def _of(served: Served) -> dict[str, Any]:
    tally = served.tally
    return {
        "name": served.announced.model,
        "version": served.version,
        "inference_count": int(tally.rows.sum),
        "execution_count": tally.rows.count,
        "inference_stats": {
            "success": _spent(tally.request),
            "queue": _spent(tally.queue),
            "compute_infer": _spent(tally.compute),
        },
    }


def _spent(seconds: Histogram) -> dict[str, int]:
    return {"count": seconds.count, "ns": int(seconds.sum * 1e9)}
