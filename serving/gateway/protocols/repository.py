"""Triton's repository extension: what there is, and "load", which means "check again".

What is live is decided by aliases alone; a request can ask to read them now, and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NoReturn

import msgspec

from serving.errors import RequestError
from serving.gateway.catalog import Catalog
from serving.gateway.dispatch import Dispatcher

_encode = msgspec.json.Encoder().encode


class IndexRequest(msgspec.Struct):
    """The body of `POST /v2/repository/index`."""

    ready: bool = False


class LoadRequest(msgspec.Struct):
    """The body of `POST /v2/repository/models/{model}/load`."""

    parameters: dict[str, Any] = {}


_decode_index = msgspec.json.Decoder(IndexRequest).decode
_decode_load = msgspec.json.Decoder(LoadRequest).decode


def only_ready(body: bytes | bytearray) -> bool:
    """Whether the client asks for models that are ready only. Raises RequestError."""
    try:
        return bool(body) and _decode_index(body).ready
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError("the body is not an index request", str(error)) from None


def check_load(body: bytes | bytearray) -> None:
    """Raise RequestError if the client wants to say what is loaded, or how."""
    try:
        parameters = _decode_load(body).parameters if body else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError("the body is not a load request", str(error)) from None
    check_parameters(parameters)


def check_parameters(parameters: Collection[str]) -> None:
    """Raise RequestError if a load has parameters."""
    if parameters:
        raise RequestError(
            f"load takes no parameters, and got {', '.join(sorted(parameters))[:200]}",
            "what is loaded is what the alias points at",
            "Leave them out.",
        )


def index(catalog: Catalog, *, only_ready: bool) -> bytes:
    """The body that answers `POST /v2/repository/index`."""
    entries = [_entry(dispatcher, catalog) for dispatcher in catalog]
    return _encode([entry for entry in entries if not only_ready or entry["state"] == "READY"])


def _entry(dispatcher: Dispatcher, catalog: Catalog) -> dict[str, str]:
    notice = catalog.notices.get(dispatcher.model)
    reason = notice.reason if notice else ""
    entry = {"name": dispatcher.model, "state": "READY" if dispatcher.ready else "UNAVAILABLE"}
    if dispatcher.active is not None:
        entry["version"] = dispatcher.active.version
    elif notice is None:
        entry["state"] = "LOADING"
    return entry | {"reason": reason}


def refuse_unload() -> NoReturn:
    """Raise RequestError: requests take nothing out of service."""
    raise RequestError(
        "a model is not unloaded by a request",
        "what is live is decided by its alias",
        "Move the alias: penstock rollback, promote or publish.",
    )
