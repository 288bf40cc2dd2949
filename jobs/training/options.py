"""What the settings of a use case ask of training, besides hyperparameters.

The parameter `training` holds, each where it is asked for: `early_stopping` ({"rounds", "days"}),
`class_weights` ("balanced", or the weights of false and of true) and `warm_start`
({"iterations"}), which goes with the input `parent`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.outcome import Parameters
from jobs.training.fitting import Continued, Fitting, Stopping
from jobs.training.window import Window
from jobs.window import Labels
from registry.errors import BadData
from registry.models.bundle import Bundle
from registry.models.signature import Signature


def vocabularies(window: Window, parent: Bundle | None) -> dict[str, list[str]]:
    """The categories of the window; those of a parent come first, since its trees know their codes."""
    found = window.vocabularies()
    known = {m.name: m.categories for m in parent.signature.inputs} if parent else {}
    return {
        name: [*(old := known.get(name) or ()), *(each for each in values if each not in set(old))]
        for name, values in found.items()
    }


def fitting(
    parameters: Parameters,
    signature: Signature,
    window: Window,
    parent: Bundle | None,
    cache: Path | None,
) -> Fitting:
    """What the algorithm is asked to learn.

    Raises:
        BadData: too few days for early stopping, or a parent of other inputs or algorithm.
    """
    asked: Mapping[str, Any] = parameters.get("training", {})
    learnt, stopping = window, None
    if early := asked.get("early_stopping"):
        learnt, held = window.before_last(early["days"])
        stopping = Stopping(held, early["rounds"])
    return Fitting(
        signature,
        learnt,
        parameters["model"],
        parameters["seed"],
        parameters["threads"],
        _weights(asked.get("class_weights"), learnt.labels),
        stopping,
        _continued(asked, parameters["algorithm"], signature, window, parent),
        cache,
    )


def _weights(asked: str | Sequence[float] | None, labels: Labels) -> tuple[float, float] | None:
    """The weights of false and of true; balanced ones make both classes count alike."""
    if asked is None:
        return None
    if asked == "balanced":
        share = float(labels.mean())
        return 0.5 / (1 - share), 0.5 / share
    false, true = map(float, asked)
    return false, true


def _continued(
    asked: Mapping[str, Any],
    algorithm: str,
    signature: Signature,
    window: Window,
    parent: Bundle | None,
) -> Continued | None:
    if parent is None:
        return None
    faults = [
        *([] if parent.flavor == algorithm else [f"it is of {parent.flavor}"]),
        *_other_view(window, parent),
        *([] if _shape(parent.signature) == _shape(signature) else ["its inputs are others"]),
    ]
    if faults:
        raise BadData(
            f"training with {algorithm} cannot go on from the parent",
            "; ".join(faults),
            "Raise the version of the step `features` or `train`: then it begins anew.",
        )
    return Continued(parent.model_bytes(), asked["warm_start"]["iterations"])


def _other_view(window: Window, parent: Bundle) -> list[str]:
    view, theirs = window.view, parent.header.view
    if theirs is not None and (theirs.name, theirs.version) == (view.name, view.version):
        return []
    return [f"its inputs are of {theirs.name} version {theirs.version}" if theirs else "no view"]


def _shape(signature: Signature) -> list[tuple[str, str]]:
    return [(member.name, member.type) for member in signature.inputs]
