"""What a model tells about itself: metadata, and the configuration that Triton's clients ask for."""

from __future__ import annotations

import msgspec

from serving.gateway.protocols.tensors import DATATYPES
from serving.gateway.served import Served

PLATFORM = "penstock"
_encode = msgspec.json.Encoder().encode
#: A tensor may hold any number of rows.
_ROWS = [-1]


def model(served: Served) -> bytes:
    """The body of `GET /v2/models/{model}`."""
    signature = served.signature
    return _encode(
        {
            "name": served.announced.model,
            "versions": [served.version],
            "platform": PLATFORM,
            "inputs": [
                {"name": member.name, "datatype": DATATYPES[member.type], "shape": _ROWS}
                for member in signature.inputs
            ],
            "outputs": [
                {"name": output.name, "datatype": "FP64", "shape": _ROWS}
                for output in signature.outputs
            ],
        }
    )


def config(served: Served) -> bytes:
    """The body of `GET /v2/models/{model}/config`, Triton's model configuration as JSON.

    `max_batch_size` is 0 in its sense: shapes name every dimension, the rows included.
    """
    signature = served.signature
    return _encode(
        {
            "name": served.announced.model,
            "platform": PLATFORM,
            "backend": PLATFORM,
            "max_batch_size": 0,
            "input": [
                {"name": member.name, "data_type": _triton(DATATYPES[member.type]), "dims": _ROWS}
                for member in signature.inputs
            ],
            "output": [
                {"name": output.name, "data_type": _triton("FP64"), "dims": _ROWS}
                for output in signature.outputs
            ],
        }
    )


def _triton(datatype: str) -> str:
    return "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"
