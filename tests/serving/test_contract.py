"""What a new model may change without a client noticing."""

from __future__ import annotations

from typing import Any

import pytest

from registry.errors import Refused
from registry.models.signature import Input, Output, Signature
from serving.contract import check_contract

STRICT = Input("c", "category", ("a", "b"), unseen="error")


def signature(*inputs: Input, outputs: tuple[str, ...] = ("p",)) -> Signature:
    return Signature(inputs, tuple(map(Output, outputs)))


def x(type_: Any = "int64", missing: Any = "error") -> Input:
    return Input("x", type_, missing=missing)


@pytest.mark.parametrize(
    ("live", "candidate"),
    [
        (signature(x()), signature(x())),
        (signature(x()), signature(x("float64"))),
        (signature(x()), signature(x(missing="nan"))),
        (signature(x("bool")), signature(x("int64"))),
        (signature(STRICT), signature(Input("c", "category", ("b", "c", "a"), unseen="error"))),
        (signature(STRICT), signature(Input("c", "category", ("z",)))),
        (signature(x()), signature(x(), outputs=("p", "q"))),
    ],
)
def test_taking_more_is_fine(live: Signature, candidate: Signature) -> None:
    check_contract(live, candidate)


@pytest.mark.parametrize(
    ("live", "candidate", "reason"),
    [
        (signature(x()), signature(Input("y")), "inputs y in place of x"),
        (signature(x()), signature(x(), Input("y")), "inputs x, y"),
        (signature(x(), Input("y")), signature(Input("y"), x()), "inputs y, x"),
        (signature(x("float64")), signature(x()), "'x' is int64 in place of float64"),
        (signature(x(missing="nan")), signature(x()), "'x' may not be missing"),
        (signature(x()), signature(Input("x", "category", ("a",))), "'x' is category"),
        (signature(STRICT), signature(Input("c", "category", ("a",), unseen="error")), "know b"),
        (signature(Input("c", "category", ("a",))), signature(STRICT), "unseen categories"),
        (signature(x()), signature(x(), outputs=("q",)), "outputs q in place of p"),
        (signature(x(), outputs=("p", "q")), signature(x()), "outputs p in place of p, q"),
    ],
)
def test_taking_less_is_refused(live: Signature, candidate: Signature, reason: str) -> None:
    with pytest.raises(Refused, match="ALLOW_SCHEMA_CHANGE") as refused:
        check_contract(live, candidate)
    assert reason in refused.value.why
