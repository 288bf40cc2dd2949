"""A row that a model understands, as requests: what the pages and the OpenAPI document show.

It is the first golden row without missing values, so that what is shown gives an answer that
means something.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import shlex
from functools import lru_cache
from pathlib import Path
from typing import Any

from registry.errors import PenstockError
from registry.models.bundle import Bundle
from registry.models.signature import Input
from serving.gateway.protocols.tensors import DATATYPES
from serving.gateway.served import Served
from serving.gateway.state import State

_MADE_UP: dict[str, Any] = {"float64": 0.5, "int64": 1, "bool": True}

Row = dict[str, Any]


def row_of(served: Served) -> Row:
    """One value for each input; bytes are bytes."""
    if served.stages.pre is not None:
        return served.stages.pre.example()
    golden = _golden_row(served.announced.folder) or {}
    return {m.name: golden.get(m.name, _made_up(m)) for m in served.signature.inputs}


def record_of(served: Served) -> Row:
    """The row as MLflow's JSON and CSV have it: bytes in base64."""
    return {
        name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for name, value in row_of(served).items()
    }


@lru_cache(maxsize=32)
def _golden_row(folder: str) -> Row | None:
    try:
        rows = Bundle.read(Path(folder)).golden.rows
    except PenstockError:
        # The folder may be cleaned away while the model serves on.
        return None
    return next((row for row in rows if None not in row.values()), rows[0])


def _made_up(member: Input) -> Any:
    return member.categories[0] if member.categories else _MADE_UP.get(member.type)


def tensors(served: Served) -> list[dict[str, Any]]:
    """The row as the tensors of an inference request."""
    row = row_of(served)
    return [
        {"name": m.name, "shape": [1], "datatype": DATATYPES[m.type], "data": [_json(row[m.name])]}
        for m in served.signature.inputs
    ]


def _is_text(value: bytes) -> bool:
    return value.decode("utf-8", "replace").encode() == value


def _json(value: Any) -> Any:
    """A value as JSON; bytes that are no text can only be shown, not sent, that way."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def csv_text(served: Served) -> str:
    """The row as CSV with a header."""
    row, out = record_of(served), io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(row)
    writer.writerow("" if value is None else value for value in row.values())
    return out.getvalue()


def curl(about: State, path: str, body: str = "", *options: str) -> str:
    """A command that can be pasted into a shell; `options` go before the address."""
    words = ["curl", "-s", *map(shlex.quote, options)]
    if about.tokens:
        words.append('-H "Authorization: Bearer $TOKEN"')
    words.append(f"{about.url}{path}")
    return " ".join(words) + (f" --data-binary {shlex.quote(body)}" if body else "")


def curl_infer(served: Served, about: State) -> str:
    """Ask for the row through the Open Inference Protocol, an input on each line."""
    lines = ",\n".join(f"  {json.dumps(tensor)}" for tensor in tensors(served))
    path = f"/v2/models/{served.announced.model}/infer"
    (payload, *others) = row_of(served).values()
    if isinstance(payload, bytes) and not others and not _is_text(payload):
        # The whole body is the only input: bytes go as they are, and so does the answer.
        data = base64.b64encode(payload).decode()
        sent = curl(about, path, "", "-H", "Inference-Header-Content-Length: 0")
        return f"echo {data} | base64 -d | {sent} --data-binary @-"
    return curl(about, path, f'{{"inputs": [\n{lines}\n]}}')


def curl_invocations(served: Served, about: State) -> str:
    """Ask for the row through MLflow's protocol, as JSON."""
    body = json.dumps({"dataframe_records": [record_of(served)]})
    return curl(about, "/invocations", body, "-H", "Content-Type: application/json")


def curl_csv(served: Served, about: State) -> str:
    """Ask for the row through MLflow's protocol, as CSV."""
    return curl(about, "/invocations", csv_text(served), "-H", "Content-Type: text/csv")
