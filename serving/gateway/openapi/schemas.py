"""JSON schemas of what one model reads and answers, in either protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from registry.models.signature import EXACT_INTEGER, Input, Signature
from serving.gateway.protocols.tensors import DATATYPES, NUMERIC

Schema = dict[str, Any]

_LARGEST = 1.7976931348623157e308
_TYPES: dict[str, Callable[[Input], Schema]] = {
    "float64": lambda _: {"type": "number", "minimum": -_LARGEST, "maximum": _LARGEST},
    "int64": lambda _: {"type": "integer", "minimum": -EXACT_INTEGER, "maximum": EXACT_INTEGER},
    "bool": lambda _: {"enum": [True, False, 0, 1]},
    "category": lambda member: _category(member),
    "bytes": lambda _: {"type": "string", "contentEncoding": "base64"},
}
#: Datatypes in which a client may send a number as JSON.
_NUMBERS = sorted(NUMERIC)


def value(member: Input) -> Schema:
    """One value of an input; null is a missing one where the model takes that."""
    schema = _TYPES[member.type](member)
    if member.missing == "error":
        return schema
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    return {**schema, "type": [schema["type"], "null"]}


def _category(member: Input) -> Schema:
    known = list(member.categories or ())
    if member.unseen == "error":
        return {"enum": known}
    return {"type": "string", "examples": known[:20]}


def tensor(member: Input) -> Schema:
    """An input as a tensor with one element for each row."""
    text = DATATYPES[member.type] == "BYTES"
    return {
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": {"const": member.name},
            "datatype": {"enum": ["BYTES"] if text else _numbers_for(member)},
            "shape": {
                "type": "array",
                "prefixItems": [_SIZE, {"const": 1}],
                "minItems": 1,
                "maxItems": 2,
            },
            "data": {"type": "array", "description": "One value for each row, flat or nested."},
            "parameters": _TENSOR_PARAMETERS,
        },
    }


def _numbers_for(member: Input) -> list[str]:
    """The datatypes with the one of the signature first."""
    own = DATATYPES[member.type]
    return [own, *(name for name in _NUMBERS if name != own)]


_SIZE = {"type": "integer", "minimum": 0}
_TENSOR_PARAMETERS = {
    "type": "object",
    "properties": {
        "binary_data_size": {
            **_SIZE,
            "description": "Bytes of this tensor after the JSON (binary tensor extension).",
        }
    },
}


def infer_request(signature: Signature) -> Schema:
    """The body of an inference request: a tensor for each input."""
    count = len(signature.inputs)
    names = [output.name for output in signature.outputs]
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": ["string", "null"]},
            "parameters": _REQUEST_PARAMETERS,
            "inputs": {
                "type": "array",
                "minItems": 1,
                "maxItems": count,
                "items": {"anyOf": [tensor(member) for member in signature.inputs]},
            },
            "outputs": {
                "type": ["array", "null"],
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": {"enum": names}, "parameters": _OUTPUT_PARAMETERS},
                },
            },
        },
    }


_REQUEST_PARAMETERS = {
    "type": "object",
    "properties": {
        "timeout": {**_SIZE, "type": ["integer", "null"], "description": "Microseconds."},
        "priority": {**_SIZE, "description": "1 goes first."},
        "binary_data_output": {"type": "boolean"},
    },
}
_OUTPUT_PARAMETERS = {"type": "object", "properties": {"binary_data": {"type": "boolean"}}}


def infer_answer(signature: Signature) -> Schema:
    """The body of an answer to an inference request."""
    output = {
        "type": "object",
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": {"enum": [output.name for output in signature.outputs]},
            "datatype": {"const": "FP64"},
            "shape": {"type": "array", "items": _SIZE},
            "data": {"type": "array", "items": {"type": "number"}},
            "parameters": {"type": "object"},
        },
    }
    return _object(
        ["model_name", "model_version", "outputs"],
        model_name={"type": "string"},
        model_version={"type": "string"},
        id={"type": "string"},
        outputs={"type": "array", "items": output},
    )


def invocation(signature: Signature, most_rows: int) -> Schema:
    """The JSON body of MLflow's protocol, exactly one of its four forms."""
    names = list(signature.names)
    rows = {"type": "array", "minItems": 1, "maxItems": most_rows}
    record = _object(names, **{member.name: value(member) for member in signature.inputs})
    record["additionalProperties"] = False
    listed = {
        "type": "array",
        "prefixItems": [value(member) for member in signature.inputs],
        "minItems": len(names),
        "maxItems": len(names),
    }
    split = _object(["data"], columns={"const": names}, data={**rows, "items": listed})
    either = {"anyOf": [{**rows, "items": record}, {**rows, "items": listed}]}
    forms: dict[str, Schema] = {
        "dataframe_split": split,
        "dataframe_records": {**rows, "items": record},
        "instances": either,
        "inputs": either,
    }
    return {
        "oneOf": [
            {**_object([form], **{form: schema}), "additionalProperties": False}
            for form, schema in forms.items()
        ]
    }


def predictions(signature: Signature) -> Schema:
    """The body of an answer in MLflow's protocol."""
    names = [output.name for output in signature.outputs]
    number = {"type": "number"}
    each = number if len(names) == 1 else _object(names, **dict.fromkeys(names, number))
    return _object(
        ["predictions"],
        predictions={"type": "array", "items": each},
        model_name={"type": "string"},
        model_version={"type": "string"},
    )


def _object(required: list[str], **properties: Schema) -> Schema:
    return {"type": "object", "required": required, "properties": properties}
