"""The champion: the model that serves, that candidates are compared with, that training goes on from."""

from __future__ import annotations

from pipelines.session import current
from registry.aliases import Aliases
from registry.artifacts.fetch import read_ancestor
from registry.artifacts.manifest import Manifest, Reference
from registry.artifacts.store import Store
from registry.errors import BadData, NotFound

#: The alias that serves.
CHAMPION = "champion"


def live_champion(aliases: Aliases, model: str) -> Reference | None:
    """What the champion alias of a model points at now, unless it was withdrawn."""
    newest = aliases.current(model, CHAMPION)
    live = newest.live if newest else None
    return None if live is None or current().index.is_withdrawn(live.path) else live


def trained_on(store: Store, model: Manifest) -> int | None:
    """The version of the step `features` whose artifacts a model learnt from; None where unknown."""
    keys = model.inputs.get("features", [])
    first = next((each for each in model.references if each.key in keys), None)
    try:
        return read_ancestor(store, first.path).step_version if first else None
    except (BadData, NotFound):
        return None
