"""What a run left behind: the verdicts, what is live, and where reports and predictions lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import Undecided
from pipelines.predict import Predict
from pipelines.publish import Publish
from pipelines.session import Session, using
from registry.aliases import Decision
from registry.artifacts.manifest import Manifest
from registry.artifacts.store import Store
from registry.command import Console


@dataclass(frozen=True)
class Standing:
    """How one model stands: the verdict on the date's best candidate, and the newest decision.

    `comparison` is the page of the champion of before beside the candidates.
    """

    model: str
    verdict: Decision | None
    newest: Decision | None
    report: str
    comparison: str = ""

    @property
    def alias(self) -> str:
        """The name under which it is live."""
        return f"{self.model}@champion"


@dataclass(frozen=True)
class Outcome:
    """One model for each horizon, and the path or address of the predictions."""

    models: list[Standing]
    predictions: str

    def document(self) -> dict[str, Any]:
        """The same for a script; at the top what is said of the use case's own horizon."""
        models = [vars(model) for model in self.models]
        return {**models[0], "models": models, "predictions": self.predictions}


def outcome_of(session: Session, root: Predict) -> Outcome:
    """Read what stands after a run of `root`."""
    with using(session):
        models = [_standing(session, task) for task in root.publications()]
        try:
            predictions = session.index.manifest_of(root.recipe)
        except Undecided:
            return Outcome(models, "")
        return Outcome(models, file_of(session.store, predictions, ".parquet"))


def _standing(session: Session, task: Publish) -> Standing:
    newest = session.aliases.current(task.model, "champion")
    try:
        best = session.index.manifest_of(task.best().recipe)
    except Undecided:
        return Standing(task.model, None, newest, "")
    report = file_of(session.store, best, ".html")
    return Standing(task.model, task.verdict(), newest, report, _comparison(session, task))


def _comparison(session: Session, task: Publish) -> str:
    """Where the champion is shown beside the candidates; empty where there was none."""
    incumbent = task.incumbent()
    try:
        if not session.index.has(incumbent.recipe):
            return ""
    except Undecided:
        return ""
    return file_of(session.store, session.index.manifest_of(incumbent.recipe), ".html")


def file_of(store: Store, manifest: Manifest, ending: str) -> str:
    """Where the artifact's first file with that ending lies, from here where it is below here."""
    found = [file.path for file in manifest.files if file.path.endswith(ending)]
    key = f"{manifest.data}{found[0]}" if found else manifest.data.rstrip("/")
    path = store.local_path(key)
    if path is None:
        return f"{store.url}/{key}"
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def tell(outcome: Outcome, console: Console) -> None:
    """Tell a person, and name the next command."""
    for model in outcome.models:
        _tell_model(model, console)
    if outcome.predictions:
        console.line(f"predictions  {outcome.predictions}")
    first, live = outcome.models[0], _live(outcome.models[0])
    refused = next((model for model in outcome.models if _was_refused(model)), None)
    if refused and refused.verdict:
        key = refused.verdict.candidate.key[:16]
        console.next(f"penstock promote {refused.alias} {key} --why TEXT", "make it live anyway")
    elif live:
        console.next(f"penstock serve {first.alias}", "answer requests with it")
    else:
        console.next(f"penstock models history {first.alias}", "every decision, and why")


def _tell_model(model: Standing, console: Console) -> None:
    if live := _live(model):
        console.line(f"live         {model.alias} {live}")
    if model.verdict and _was_refused(model):
        key = model.verdict.candidate.key[:16]
        console.line(f"rejected     {key}: {'; '.join(model.verdict.reasons)}")
    if model.report:
        console.line(f"report       {model.report}")
    if model.comparison:
        console.line(f"comparison   {model.comparison}")


def _live(model: Standing) -> str:
    """The live model in words, empty where there is none."""
    newest = model.newest
    live = newest.live if newest else None
    return f"{live.key[:16]} (revision {newest.revision})" if newest and live else ""


def _was_refused(model: Standing) -> bool:
    """Whether the verdict refused the candidate, and nobody promoted it since."""
    if model.verdict is None or model.verdict.action != "reject":
        return False
    live = model.newest.live if model.newest else None
    return live is None or live.key != model.verdict.candidate.key
