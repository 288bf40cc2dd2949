"""A model file from elsewhere becomes a bundle.

Such a file carries no digest that anybody vouched for, and both libraries are native code. So the
file is read in a child process (`registry.models.probe`): whatever it does there, the caller gets
a bundle or BadData.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Literal

import msgspec

from registry.errors import BadData, NotFound
from registry.models.bundle import Bundle

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MAGIC = ((b"tree\n", "lightgbm"), (b"CBM1", "catboost"))


class Request(msgspec.Struct, frozen=True):
    """What the child is asked: build a bundle in `folder` from `file`."""

    file: str
    folder: str
    flavor: Literal["lightgbm", "catboost"]
    sample: str | None
    outputs: tuple[str, ...] | None
    pre: str = ""
    post: str = ""


class Fault(msgspec.Struct, frozen=True):
    """The child's BadData, in its three parts."""

    what: str
    why: str
    todo: str


def import_model(
    file: Path,
    folder: Path,
    sample: Path | None = None,
    *,
    outputs: Sequence[str] | None = None,
    pre: str = "",
    post: str = "",
    timeout: float = 300.0,
) -> Bundle:
    """Make a bundle in the empty `folder` from a LightGBM text or CatBoost cbm `file`.

    `sample` is a Parquet file with the model's columns; its first rows become golden rows.
    Without one, golden rows are made up. `outputs` names the outputs. LightGBM's categories come
    from its pandas vocabulary; categorical features without one are integer codes. `pre` and `post`
    are the stages before and after it, as `usecase/name`.

    Raises:
        NotFound: there is no such file.
        BadData: it is no model, is damaged, or needs something that is not supported.
    """
    flavor = flavor_of(file)
    request = Request(
        str(file), str(folder), flavor, str(sample) if sample else None,
        tuple(outputs) if outputs else None, pre, post,
    )  # fmt: skip
    command = [sys.executable, "-m", "registry.models.probe"]
    try:
        child = subprocess.run(
            command, input=msgspec.json.encode(request), capture_output=True, timeout=timeout,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise _damaged(file, f"its library did not read it within {timeout:.0f} s") from None
    if child.returncode == BadData.exit_code:
        fault = msgspec.json.decode(child.stdout.splitlines()[-1], type=Fault)
        raise BadData(f"{file}: {fault.what}", fault.why, fault.todo)
    if child.returncode:
        last = child.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise _damaged(file, f"its library ended with {child.returncode}: {''.join(last)[:300]}")
    return Bundle.read(folder)


def flavor_of(file: Path) -> Literal["lightgbm", "catboost"]:
    """The flavor of a model file, by its first bytes.

    Raises:
        NotFound: there is no such file.
        BadData: neither of the two formats; a pickle is said to be one.
    """
    try:
        with file.open("rb") as stream:
            head = stream.read(16)
    except OSError as error:
        raise NotFound(f"{file} cannot be read", str(error.strerror), "Check the path.") from None
    for magic, flavor in _MAGIC:
        if head.startswith(magic):
            return "lightgbm" if flavor == "lightgbm" else "catboost"
    kind = "it looks like a pickle, which is never opened" if head[:1] == b"\x80" else "unknown"
    raise BadData(
        f"{file} is neither a LightGBM text model nor a CatBoost cbm",
        kind,
        "Export with Booster.save_model (LightGBM) or save_model(format='cbm') (CatBoost).",
    )


def _damaged(file: Path, why: str) -> BadData:
    return BadData(f"{file} is damaged or hostile", why, "Export the model again.")
