"""One spelling for one value: the canonical JSON that every digest is computed over."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from registry.errors import UsageError


def normal(value: Any, where: str = "value") -> Any:
    """`value` in normal form: JSON types only, dates as ISO text, sets sorted, -0.0 as 0.0.

    Integers and floats stay different (1 is not 1.0), since a step may treat them differently.

    Raises:
        UsageError: a type or number that has no single spelling; names the place.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return _encodable(str(value), where)
    if isinstance(value, float):
        return _normal_float(value, where)
    if isinstance(value, dt.date | dt.datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {_text(key, where): normal(item, f"{where}.{key!s}") for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((normal(item, where) for item in value), key=spell)
    if isinstance(value, list | tuple):
        return [normal(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise UsageError(
        f"{where} is a {type(value).__name__}",
        "only numbers, text, dates, lists, sets and mappings can be part of a recipe",
        "Pass one of these.",
    )


def _normal_float(value: float, where: str) -> float:
    if not math.isfinite(value):
        raise UsageError(f"{where} is {value}", "JSON cannot spell it", "Use a finite number.")
    return float(value) + 0.0


def _encodable(text: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{where} is {text!r}", "it is not valid Unicode, so no record can hold it"
        ) from None
    return text


def _text(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise UsageError(f"{where} has the key {key!r}", "keys are text", "Use a text key.")
    return _encodable(str(key), where)


def spell(value: Any) -> str:
    """The canonical JSON text of a value in normal form (sorted keys, no spaces, ASCII)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(tag: str, value: Any) -> str:
    """Hex sha256 over `tag` (so that kinds cannot collide) and the canonical JSON of `value`."""
    return digest_normal(tag, normal(value))


def digest_normal(tag: str, value: Any) -> str:
    """The same for a value that is in normal form already, such as decoded JSON."""
    return hashlib.sha256(f"{tag}\n{spell(value)}".encode()).hexdigest()
