"""LightGBM's training calls through its documented C API.

The Python module of the same library would import pandas and scipy, more than 100 MB in each job,
to make these calls, and wants all rows at once or one by one. Trees are the same to the bit (tests
compare model files).

Protocol: https://lightgbm.readthedocs.io/en/stable/C-API.html
"""

from __future__ import annotations

from collections.abc import Mapping
from ctypes import c_void_p
from types import TracebackType
from typing import Any, Self

from registry.errors import BadData
from registry.models.lightgbm import library

FLOAT32, FLOAT64 = 0, 1  # C_API_DTYPE_…


class Handle:
    """Something of the library's, freed by `close` or at the end of a `with`."""

    _free: str

    def __init__(self) -> None:
        self.handle = c_void_p()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free it; twice does no harm."""
        if self.handle.value:
            call(self._free, self.handle)
        self.handle = c_void_p()


def call(function: str, *arguments: object) -> None:
    """Raise BadData, or MemoryError, with what the library says."""
    lib = library()
    if getattr(lib, function)(*arguments):
        raise refused("LightGBM", (lib.LGBM_GetLastError() or b"").decode("utf-8", "replace"))


def refused(name: str, said: str) -> BadData:
    """BadData for what a library says; MemoryError where it ran out of it, which a size cures."""
    if "bad alloc" in said.lower().replace("_", " "):
        raise MemoryError(f"{name}: {said}") from None
    lines = said.splitlines()
    return BadData(
        f"{name} refuses to train", (lines or ["?"])[0][:300], "Correct the hyperparameters."
    )


def spelled(settings: Mapping[str, Any]) -> str:
    """Settings as the library reads them: `name=value`, separated by spaces.

    Raises:
        BadData: a value is neither a number, a text without spaces, nor a list of such.
    """
    return " ".join(f"{name}={_value(name, value)}" for name, value in settings.items())


def _value(name: str, value: Any) -> str:
    members = value if isinstance(value, list | tuple) else [value]
    texts = [str(member) for member in members]
    if all(isinstance(member, str | int | float) for member in members) and not any(
        character.isspace() for text in texts for character in text
    ):
        return ",".join(texts)
    raise BadData(
        f"LightGBM refuses to train: {name} is {value!r}",
        "a number, a text without spaces, or a list of such was expected",
        "Correct the hyperparameters.",
    )
