"""Records as gateways make them, without a gateway."""

from __future__ import annotations

from typing import Any

import numpy as np

from registry.models.signature import Encoder, Signature
from serving.requestlog.record import Record

VERSION = "0123456789abcdef"


def a_record(
    signature: Signature,
    rows: list[dict[str, Any]],
    answers: list[float] | None = None,
    **known: Any,
) -> Record:
    """What a gateway tells of a request with these rows and answers to the first output."""
    fields: dict[str, Any] = {
        "model": "flights", "version": VERSION, "revision": 3, "request": "r-1", "time": 1e9,
        "latency": 0.002, "status": 200 if answers is not None else 503, "row": 0,
    }  # fmt: skip
    texts = [member.name for member in signature.inputs if member.type == "category"]
    return Record(
        **fields | known,
        rows=len(rows),
        inputs=Encoder(signature).encode_rows(rows).tobytes(),
        texts=[[row[name] for row in rows] for name in texts],
        outputs=np.array(answers).tobytes() if answers is not None else b"",
    )
