"""The contract: what clients may send. A new model must take all that the live one takes."""

from __future__ import annotations

from registry.errors import Refused
from registry.models.signature import Input, Signature

#: Types that take every value of another.
_WIDER = {("int64", "float64"), ("bool", "int64"), ("bool", "float64")}


def check_contract(live: Signature, candidate: Signature) -> None:
    """Check that every request that `live` answers is one that `candidate` answers alike.

    Inputs keep their names and order; types, missing values and categories may only become more
    generous. Outputs keep their names and order; more may follow.

    Raises:
        Refused: names the first input or output that clients would notice.
    """
    reason = _names(live, candidate) or _inputs(live, candidate)
    if reason:
        raise Refused(
            "the model takes other inputs than the one that is live, or gives other outputs",
            reason,
            "Publish it under another name, or set PENSTOCK_SERVING_ALLOW_SCHEMA_CHANGE=1.",
        )


def _names(live: Signature, candidate: Signature) -> str:
    if live.names != candidate.names:
        return f"inputs {', '.join(candidate.names)} in place of {', '.join(live.names)}"
    before = tuple(output.name for output in live.outputs)
    after = tuple(output.name for output in candidate.outputs)
    if after[: len(before)] != before:
        return f"outputs {', '.join(after)} in place of {', '.join(before)}"
    return ""


def _inputs(live: Signature, candidate: Signature) -> str:
    pairs = zip(live.inputs, candidate.inputs, strict=True)
    return next((reason for pair in pairs if (reason := _stricter(*pair))), "")


def _stricter(before: Input, after: Input) -> str:
    """How `after` takes less than `before`; empty if it does not."""
    name = f"input {before.name!r}"
    if before.type != after.type and (before.type, after.type) not in _WIDER:
        return f"{name} is {after.type} in place of {before.type}"
    if (before.missing, after.missing) == ("nan", "error"):
        return f"{name} may not be missing any more"
    if after.categories is None or after.unseen == "missing":
        return ""
    if before.unseen == "missing":
        return f"{name} takes no unseen categories any more"
    lost = sorted(set(before.categories or ()) - set(after.categories))
    return f"{name} does not know {', '.join(lost[:5])} any more" if lost else ""
