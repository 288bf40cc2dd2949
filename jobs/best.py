"""What a search found, as later steps read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from registry.errors import BadData

#: The hyperparameters of the best trial, besides those of the settings.
BEST = "best.json"


def best_of(folder: Path, algorithm: str) -> dict[str, Any]:
    """The hyperparameters that a search found best. Raises BadData where it is not of `algorithm`."""
    found = json.loads((folder / BEST).read_bytes())
    if found.get("algorithm") != algorithm:
        raise BadData(f"the search is of {found.get('algorithm')}, not of {algorithm}", "")
    return dict(found["model"])
