"""Publish: the better candidate passes the gate and goes live, or is rejected with reasons.

Publication is an event: complete when the decision log holds a verdict on the candidate. So a
later run never undoes what a person did in between.
"""

from __future__ import annotations

from collections.abc import Mapping

import luigi

from pipelines.champion import CHAMPION
from pipelines.errors import Undecided
from pipelines.evaluate import Contest, Evaluate, EvaluateChampion
from pipelines.gate import refusals
from pipelines.session import current
from registry.aliases import Decision
from registry.identity import who_am_i


class Publish(Contest):
    """The verdict on the best model of a logical date and horizon."""

    def incumbent(self) -> EvaluateChampion:
        """The evaluation of the present champion on the same day."""
        task: EvaluateChampion = self.sibling(EvaluateChampion, searches=self.searches)
        return task

    def requires(self) -> list[luigi.Task]:
        return [*self.evaluations(), self.incumbent()]

    def best(self) -> Evaluate:
        """The evaluation with the lowest log loss; one without comes last.

        Raises:
            Undecided: an evaluation is not there yet.
        """
        if not all(task.complete() for task in self.evaluations()):
            raise Undecided("the evaluations")
        return min(self.evaluations(), key=lambda task: (_log_loss(_metrics(task)), task.algorithm))

    def verdict(self) -> Decision | None:
        """What was decided about the best candidate, if anything was."""
        try:
            candidate = self.best().candidate()
        except Undecided:
            return None
        return current().aliases.verdict(self.model, CHAMPION, candidate.recipe.key)

    def complete(self) -> bool:
        return self.verdict() is not None

    def run(self) -> None:
        """Compare once, and record the verdict."""
        session = current()
        session.begin()
        best = self.best()
        reasons = [
            *refusals(self.settings.gate, _metrics(best), self._champion_metrics()),
            *self._obstacles(),
        ]
        decision = session.aliases.settle(
            (self.model, CHAMPION),
            best.candidate().reference(),
            "reject" if reasons else "publish",
            who=who_am_i(session.settings),
            why=f"run {session.run}: best of {self.date}, log loss {_log_loss(_metrics(best)):.4f}",
            reasons=reasons,
            evaluation=best.reference(),
        )
        session.observer.decided(self.label, outcome(decision))

    def _champion_metrics(self) -> Mapping[str, float] | None:
        incumbent = self.incumbent()
        if incumbent.champion() is None or incumbent.is_incomparable():
            return None
        return _metrics(incumbent)

    def _obstacles(self) -> list[str]:
        """Why no comparison was possible, so that a person has to decide."""
        incumbent = self.incumbent()
        if incumbent.champion() is None or not incumbent.is_incomparable():
            return []
        return ["the champion could not be evaluated on this day, so nothing was compared"]


def _metrics(task: Evaluate | EvaluateChampion) -> Mapping[str, float]:
    return current().index.manifest_of(task.recipe).metrics


def _log_loss(metrics: Mapping[str, float]) -> float:
    """The log loss; a manifest leaves out numbers that are not finite."""
    return metrics.get("log_loss", float("inf"))


def outcome(decision: Decision) -> str:
    """A decision in words: "published 3f… as revision 2" or "rejected 3f…: reasons"."""
    short = decision.candidate.key[:16]
    if decision.action == "reject":
        return f"rejected {short}: {'; '.join(decision.reasons)}"
    return f"published {short} as revision {decision.revision}"
