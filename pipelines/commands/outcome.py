"""What a run left behind: the verdict, what is live, and where report and predictions lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import Undecided
from pipelines.predict import Predict
from pipelines.session import Session, using
from registry.aliases import Decision
from registry.artifacts.manifest import Manifest
from registry.artifacts.store import Store
from registry.command import Console


@dataclass(frozen=True)
class Outcome:
    """The verdict on the date's best candidate, the newest decision, and paths or addresses."""

    usecase: str
    verdict: Decision | None
    newest: Decision | None
    report: str
    predictions: str

    def document(self) -> dict[str, Any]:
        """The same for a script."""
        return vars(self)


def outcome_of(session: Session, root: Predict) -> Outcome:
    """Read what stands after a run of `root`."""
    with using(session):
        publication = root.publication()
        try:
            best = session.index.manifest_of(publication.best().recipe)
            predictions = session.index.manifest_of(root.recipe)
        except Undecided:
            return Outcome(root.usecase, None, None, "", "")
        return Outcome(
            root.usecase,
            publication.verdict(),
            session.aliases.current(root.usecase, "champion"),
            _file(session.store, best, ".html"),
            _file(session.store, predictions, ".parquet"),
        )


def _file(store: Store, manifest: Manifest, ending: str) -> str:
    """Where the artifact's first file with that ending lies, from here where it is below here."""
    found = [file.path for file in manifest.files if file.path.endswith(ending)]
    key = f"{manifest.data}{found[0]}" if found else manifest.data.rstrip("/")
    path = store.local_path(key)
    if path is None:
        return f"{store.url}/{key}"
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def tell(outcome: Outcome, console: Console) -> None:
    """Tell a person, and name the next command."""
    name = f"{outcome.usecase}@champion"
    verdict, newest = outcome.verdict, outcome.newest
    live = newest.live if newest else None
    if newest and live:
        console.line(f"live         {name} {live.key[:16]} (revision {newest.revision})")
    for label, place in (("report", outcome.report), ("predictions", outcome.predictions)):
        if place:
            console.line(f"{label:<12} {place}")
    if verdict and verdict.action == "reject" and (not live or live.key != verdict.candidate.key):
        key = verdict.candidate.key[:16]
        console.line(f"rejected     {key}: {'; '.join(verdict.reasons)}")
        console.next(f"penstock promote {name} {key} --why TEXT", "make it live nevertheless")
    elif live:
        console.next(f"penstock serve {name}", "answer requests with it")
    else:
        console.next(f"penstock models history {name}", "every decision, and why")
