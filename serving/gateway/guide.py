"""The page at `/docs`: how to ask each model, with lines to paste. It needs no other server."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from registry.models.signature import Input
from serving.gateway import examples
from serving.gateway.catalog import Catalog
from serving.gateway.openapi.document import Part, document
from serving.gateway.page import STYLE
from serving.gateway.protocols.tensors import DATATYPES
from serving.gateway.served import Served
from serving.gateway.state import State

_PYTHON = """\
import numpy, tritonclient.http as triton

client = triton.InferenceServerClient("{address}"{encrypted})
inputs = []
for name, datatype, values in {columns}:
    column = triton.InferInput(name, [len(values)], datatype)
    kind = {{"BYTES": object, "FP64": float, "INT64": int, "BOOL": bool}}[datatype]
    column.set_data_from_numpy(numpy.array(values, kind))
    inputs.append(column)
print(client.infer("{model}", inputs).as_numpy("{output}"))
"""


def render(catalog: Catalog, about: State) -> bytes:
    """The page as UTF-8."""
    live = [dispatcher.active for dispatcher in catalog if dispatcher.active is not None]
    only = len(live) == len(list(catalog)) == 1
    body = "".join(part for served in live for part in _model(served, about, only=only))
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>How to ask penstock</title>"
        f"<meta name=viewport content='width=device-width'><style>{STYLE}</style>"
        f"<h1>How to ask</h1><p>For machines: <a href=/openapi.json>OpenAPI</a>. "
        f"What is live: <a href=/>the front page</a>.</p>{body}"
        f"<h2>Every path</h2><div class=scroll><table>{_paths(catalog, about)}</table></div>"
    ).encode()


def _model(served: Served, about: State, *, only: bool) -> Iterator[str]:
    model = served.announced.model
    yield f"<h2>{escape(model)}</h2><div class=scroll><table><tr><th>input<th>datatype<th>values"
    yield from map(_input, served.signature.inputs)
    outputs = ", ".join(output.name for output in served.signature.outputs)
    yield f"</table></div><p>Answers {escape(outputs)} (FP64) for each row.</p>"
    yield _block("Open Inference Protocol", examples.curl_infer(served, about))
    if only:
        yield _block("MLflow, as JSON", examples.curl_invocations(served, about))
        yield _block("MLflow, as CSV", examples.curl_csv(served, about))
    yield _block("Python, with binary tensors (tritonclient)", _python(served, about))


def _block(title: str, text: str) -> str:
    return f"<h3>{escape(title)}</h3><pre>{escape(text)}</pre>"


def _input(member: Input) -> str:
    cells = (member.name, DATATYPES[member.type], _values(member))
    return "<tr>" + "".join(f"<td>{escape(cell)}" for cell in cells)


def _values(member: Input) -> str:
    missing = "" if member.missing == "error" else "; null is a missing one"
    if member.categories is None:
        return {"int64": "integers", "bool": "true, false", "bytes": "bytes"}.get(
            member.type, "numbers"
        ) + missing
    known = ", ".join(member.categories[:12]) + (" …" if len(member.categories) > 12 else "")
    return f"{known}{'' if member.unseen == 'error' else '; others count as missing'}{missing}"


def _python(served: Served, about: State) -> str:
    row, inputs = examples.row_of(served), served.signature.inputs
    columns = [(each.name, DATATYPES[each.type], [row[each.name]]) for each in inputs]
    return _PYTHON.format(
        address=about.address,
        encrypted=", ssl=True" if about.encrypted else "",
        columns=columns,
        model=served.announced.model,
        output=served.signature.outputs[0].name,
    )


def _paths(catalog: Catalog, about: State) -> str:
    paths: Part = document(catalog, about)["paths"]
    return "".join(
        f"<tr><td>{method.upper()}<td><code>{escape(path)}</code><td>{escape(part['summary'])}"
        for path, parts in paths.items()
        for method, part in parts.items()
    )
