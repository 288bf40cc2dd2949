"""The document: every path that is answered now, with the models that are live written out."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

from serving import errors
from serving.gateway import examples
from serving.gateway.catalog import Catalog
from serving.gateway.dispatch import Dispatcher
from serving.gateway.openapi import schemas
from serving.gateway.protocols import mlflow
from serving.gateway.served import Served
from serving.gateway.state import State

Part = dict[str, Any]

_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
_MLFLOW_ERROR = {
    "type": "object",
    "required": ["error_code", "message"],
    "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
}
_OBJECT = {"type": "object"}
_ASKED = (
    errors.RequestError,
    errors.BodyTooLarge,
    errors.UnsupportedMedia,
    errors.ModelFailed,
    errors.Overloaded,
    errors.DeadlinePassed,
)


def document(catalog: Catalog, state: State) -> Part:
    """The OpenAPI 3.1 document of this service as it is now."""
    serving = [dispatcher for dispatcher in catalog if dispatcher.active is not None]
    paths = _service_paths()
    for dispatcher in serving:
        assert dispatcher.active is not None
        paths |= _model_paths(dispatcher.active)
    if len(list(catalog)) == len(serving) == 1:
        paths["/invocations"] = {"post": _invocations(serving[0])}
    made: Part = {
        "openapi": "3.1.0",
        "info": {
            "title": "penstock",
            "version": version("penstock"),
            "description": "Predictions over the Open Inference Protocol and MLflow's.",
        },
        "servers": [{"url": state.url}],
        "paths": paths,
        "components": {"schemas": {"Error": _ERROR, "MlflowError": _MLFLOW_ERROR}},
    }
    if state.tokens:
        made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"token": []}]
    return made


def _service_paths() -> Part:
    unready = (errors.Overloaded,)
    text, page = {"text/plain": _TEXT}, {"text/html": _TEXT}
    return {
        "/": _read("What is live, for people", page),
        "/docs": _read("How to ask, for people", page),
        "/openapi.json": _read("This document", _json(_OBJECT)),
        "/metrics": _read("Counters and gauges for Prometheus", text),
        "/v2": _read("The server and its extensions", _json(_OBJECT)),
        "/v2/health/live": _read("Whether the service runs", _json(_OBJECT), unready),
        "/v2/health/ready": _read("Whether every model can answer", _json(_OBJECT), unready),
        "/v2/models/stats": _read("Counts and times of all models", _json(_OBJECT)),
        "/v2/repository/index": {"post": _index()},
        "/ping": _read("Whether every model can answer", text, unready),
        "/health": _read("Whether every model can answer", text, unready),
        "/version": _read(f"MLflow's version of the protocol, {mlflow.VERSION}", text),
    }


def _model_paths(served: Served) -> Part:
    model = served.announced.model
    base = f"/v2/models/{model}"
    paths: Part = {}
    for prefix, of in ((base, model), (f"{base}/versions/{served.version}", "this version only")):
        missing = (errors.UnknownPath, errors.Overloaded)
        paths |= {
            prefix: _read(f"Inputs and outputs: {of}", _json(_OBJECT), missing),
            f"{prefix}/ready": _read(f"Whether it can answer: {of}", _json(_OBJECT), missing),
            f"{prefix}/config": _read(f"Triton's configuration: {of}", _json(_OBJECT), missing),
            f"{prefix}/stats": _read(f"Counts and times: {of}", _json(_OBJECT), missing),
            f"{prefix}/infer": {"post": _infer(served, of)},
        }
    repository = f"/v2/repository/models/{model}"
    return paths | {
        f"{repository}/load": {"post": _load(f"Read the alias of {model} again, now")},
        f"{repository}/unload": {"post": _unload()},
    }


def _infer(served: Served, of: str) -> Part:
    body = {
        "schema": schemas.infer_request(served.signature),
        "example": {"inputs": examples.tensors(served)},
    }
    return {
        "summary": f"Predict (Open Inference Protocol): {of}",
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {
            "200": {
                "description": "One value of each output for each row",
                "content": {
                    **_json(schemas.infer_answer(served.signature)),
                    "application/octet-stream": _TEXT,
                },
            },
            **_errors((*_ASKED, errors.UnknownPath)),
        },
    }


def _invocations(dispatcher: Dispatcher) -> Part:
    served = dispatcher.active
    assert served is not None
    most = dispatcher.policy.max_queue_rows
    content = {
        "application/json": {
            "schema": schemas.invocation(served.signature, most),
            "example": {"dataframe_records": [examples.record_of(served)]},
        },
        "text/csv": {**_TEXT, "example": examples.csv_text(served)},
    }
    return {
        "summary": f"Predict (MLflow): {served.announced.model}",
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": {
                "description": "One prediction for each row",
                "content": _json(schemas.predictions(served.signature)),
            },
            **_errors(_ASKED, "MlflowError"),
        },
    }


def _index() -> Part:
    body = {"type": "object", "properties": {"ready": {"type": "boolean"}}}
    entries = {"type": "array", "items": _OBJECT}
    return _asked("The models and their state", body, entries)


def _load(summary: str) -> Part:
    return _asked(summary, {"type": "object", "properties": {"parameters": {"const": {}}}}, _OBJECT)


def _unload() -> Part:
    made = _asked("Refused: what is live is decided by aliases", _OBJECT, _OBJECT)
    del made["responses"]["200"]
    return made


def _asked(summary: str, body: Part, answer: Part) -> Part:
    return {
        "summary": summary,
        "requestBody": {"content": _json(body)},
        "responses": {
            "200": {"description": "As asked", "content": _json(answer)},
            **_errors((errors.RequestError, errors.BodyTooLarge, errors.UnsupportedMedia)),
        },
    }


_TEXT = {"schema": {"type": "string"}}


def _json(schema: Part) -> Part:
    return {"application/json": {"schema": schema}}


def _read(summary: str, content: Part, wrong: Iterable[type[errors.RequestError]] = ()) -> Part:
    ok = {"description": summary, "content": content}
    return {"get": {"summary": summary, "responses": {"200": ok, **_errors(wrong)}}}


def _errors(kinds: Iterable[type[errors.RequestError]], shape: str = "Error") -> Part:
    """A response for each kind of error, by status, and one for all others."""
    content = _json({"$ref": f"#/components/schemas/{shape}"})
    described = {
        str(kind.status): {"description": (kind.__doc__ or "").strip(), "content": content}
        for kind in kinds
    }
    return {**described, "default": {"description": "An error", "content": content}}
