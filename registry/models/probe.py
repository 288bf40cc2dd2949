"""`python -m registry.models.probe`: build a bundle from an untrusted model file.

Runs as a child of `registry.models.importing`: a request on stdin; exit 0 with a bundle written,
or 65 with the fault as JSON on the last line of stdout. It may also crash: that is why it is a
process of its own.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from registry.errors import BadData
from registry.models.building import build_bundle
from registry.models.bundle import Link
from registry.models.importing import Fault, Request
from registry.models.signature import Input, Output, Signature

if TYPE_CHECKING:
    from collections.abc import Mapping

_GOLDEN_ROWS = 8


def main() -> int:
    """Serve one request; see the module's text."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    try:
        build(request)
    except BadData as error:
        fault = msgspec.json.encode(Fault(error.what, error.why, error.todo))
        sys.stdout.buffer.write(b"\n" + fault + b"\n")
        return BadData.exit_code
    return 0


def build(request: Request) -> None:
    """Write the bundle that `request` asks for. Raises BadData."""
    model = Path(request.file).read_bytes()
    inputs, names, link = _lightgbm(model) if request.flavor == "lightgbm" else _catboost(model)
    outputs = request.outputs or names
    if len(outputs) != len(names):
        raise BadData(f"the model has {len(names)} outputs", f"named were {', '.join(outputs)}")
    signature = Signature(inputs, tuple(Output(name) for name in outputs))
    rows = _sample(Path(request.sample), signature) if request.sample else _made_up(signature)
    build_bundle(
        Path(request.folder),
        flavor=request.flavor,
        model=model,
        link=link,
        signature=signature,
        rows=rows,
        pre=request.pre,
        post=request.post,
    )


_Described = tuple[tuple[Input, ...], tuple[str, ...], Link | None]


def _lightgbm(model: bytes) -> _Described:
    from registry.models.lightgbm_text import TextModel, check_text

    text: TextModel = check_text(model)
    vocabularies = _vocabularies(text.categorical, text.pandas_categorical)
    inputs = tuple(
        Input(name, "category", vocabularies[i])
        if i in vocabularies
        else Input(name, "int64" if i in text.categorical else "float64")
        for i, name in enumerate(text.names)
    )
    binary = text.objective.split(" ")[0] in ("binary", "cross_entropy")
    return inputs, _outputs(text.outputs, binary), None


def _vocabularies(
    categorical: tuple[int, ...], vocabularies: list[list[Any]] | None
) -> dict[int, tuple[str, ...]]:
    if vocabularies is None:
        return {}
    if len(vocabularies) != len(categorical):
        raise BadData(
            "the model's pandas vocabularies cannot be matched with its categorical features",
            f"{len(vocabularies)} vocabularies, {len(categorical)} features",
            "Train it on integer codes.",
        )
    if not all(isinstance(value, str) for values in vocabularies for value in values):
        raise BadData(
            "a pandas vocabulary of the model is not text", "", "Train it on integer codes."
        )
    return {i: tuple(v) for i, v in zip(categorical, vocabularies, strict=True)}


def _catboost(model: bytes) -> _Described:
    from registry.models.catboost import CatBoostPredictor, link_of

    predictor = CatBoostPredictor(model, None)
    link = link_of(predictor.model)
    inputs = tuple(Input(name) for name in predictor.names)
    predictor = CatBoostPredictor(model, link)
    return inputs, _outputs(predictor.outputs, link == "logistic"), link


def _outputs(count: int, probability: bool) -> tuple[str, ...]:
    if count == 1:
        return ("probability" if probability else "value",)
    return tuple(f"class_{index}" for index in range(count))


def _sample(path: Path, signature: Signature) -> list[dict[str, Any]]:
    from registry.models.sample import first_rows

    rows = first_rows(path, signature, _GOLDEN_ROWS)
    if not rows:
        raise BadData(
            f"{path} holds no rows", "golden rows need at least one", "Give another sample."
        )
    return rows


def _made_up(signature: Signature) -> list[Mapping[str, Any]]:
    """Rows whose values differ between features, so that a swapped order shows."""
    return [
        {member.name: _value(member, 7 * row + 3 * position) for position, member in
         enumerate(signature.inputs)}
        for row in range(_GOLDEN_ROWS)
    ]  # fmt: skip


def _value(member: Input, number: int) -> Any:
    if member.categories:
        return member.categories[number % len(member.categories)]
    return number % 11 if member.type == "int64" else float(number % 23 - 11)


if __name__ == "__main__":
    sys.exit(main())
