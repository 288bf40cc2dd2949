"""The gate: may a candidate be published without a person? A pure function of metrics.

Metrics of an evaluation: auc, log_loss, and of the base rate on the same rows base_auc,
base_log_loss.
"""

from __future__ import annotations

from collections.abc import Mapping

from registry.usecase import Gate


def refusals(
    gate: Gate, candidate: Mapping[str, float], champion: Mapping[str, float] | None
) -> list[str]:
    """The reasons against publishing; empty when the candidate passes."""
    needed = ("auc", "log_loss", "base_auc", "base_log_loss")
    missing = [name for name in needed if name not in candidate]
    if missing:
        return [f"the evaluation lacks {', '.join(missing)}"]
    reasons = [
        _below("AUC", candidate["auc"] - candidate["base_auc"], gate.min_auc_gain),
        _below(
            "log loss",
            candidate["base_log_loss"] - candidate["log_loss"],
            gate.min_log_loss_gain,
        ),
        _regression(candidate, champion, gate.max_log_loss_regression),
    ]
    return [reason for reason in reasons if reason]


def _below(metric: str, gain: float, margin: float) -> str:
    if gain >= margin:
        return ""
    return f"{metric} gains {gain:+.4f} over the base rate, {margin:+.4f} is required"


def _regression(
    candidate: Mapping[str, float], champion: Mapping[str, float] | None, allowed: float
) -> str:
    if champion is None:
        return ""
    if "log_loss" not in champion:
        return "the champion's evaluation on the same day lacks log_loss"
    worse = candidate["log_loss"] - champion["log_loss"]
    if worse <= allowed:
        return ""
    return (
        f"log loss {candidate['log_loss']:.4f} is {worse:.4f} worse than the champion's "
        f"{champion['log_loss']:.4f} on the same day, {allowed:.4f} is allowed"
    )
