"""A small model that is live, and the words that deploy a service for it."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.penstock.conftest import Place

#: Small instances, of which three fit on a node of two processors. The kernel gives a task the more
#: of a busy machine the more it asked for, so they do not ask for next to nothing.
SMALL = (
    "--dev", "--var", "count=2", "--var", "cpu=1000", "--var", "memory_mb=1024",
    "--var", "workers=1", "--var", "min_healthy_time=1s", "--var", "shutdown_delay=2s",
)  # fmt: skip
#: What a version that works is given, and one that does not, but must have come so far as to fail.
PATIENT, IMPATIENT = "healthy_deadline=180s", "healthy_deadline=40s"


def a_live_model(place: Place, files: Path) -> None:
    """Import `files` (see `model_files`) as the champion of `churn`."""
    for name in ("first.txt", "rows.parquet"):
        shutil.copy(files / name, place.folder / name)
    words = ("import", "first.txt", "--name", "churn", "--sample", "rows.parquet")
    place.ok(*words, "--alias", "champion", "--why", "the first")


def deploying(models: str, deadline: str, *more: str) -> tuple[str, ...]:
    """The words of a deployment."""
    return ("deploy", *models.split(), *SMALL, "--var", deadline, *more)
