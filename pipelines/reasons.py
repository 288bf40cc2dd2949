"""Why a step must run: how its recipe differs from the nearest artifact that exists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.index import Index
from registry.artifacts.key import Recipe


def reason(index: Index, recipe: Recipe) -> str:
    """One line for people: "missing", "retracted", or what changed."""
    if recipe.epoch:
        return "retracted" if recipe.epoch == 1 else f"retracted {recipe.epoch} times"
    nearest = min(
        (differences(other, recipe) for other in _siblings(index, recipe)), key=len, default=None
    )
    return "; ".join(nearest) if nearest else "missing"


def _siblings(index: Index, recipe: Recipe) -> list[Recipe]:
    """The recipes of existing artifacts of the same family, name, date and horizon.

    What another horizon has is no earlier form of this.
    """
    folder = f"/date={recipe.date}/" if recipe.date else "/"
    paths = [path for path in index.paths(recipe.family, recipe.name) if folder in path]
    found = [manifest.recipe() for manifest in index.readable(paths)]
    horizon = recipe.parameters.get("horizon")
    return [other for other in found if other.parameters.get("horizon") == horizon]


def differences(old: Recipe, new: Recipe) -> list[str]:
    """What changed from `old` to `new`, a phrase for each, the most telling first."""
    inputs = [f"input {role} changed" for role in changed_inputs(old, new)]
    return [*own_differences(old, new), *inputs]


def own_differences(old: Recipe, new: Recipe) -> list[str]:
    """What changed in the step itself: its version, its parameters, its external sources."""
    before, after = old.spelled(), new.spelled()
    changed = []
    if before["version"] != after["version"]:
        changed.append(f"version {before['version']} → {after['version']}")
    changed += _changed("", before["parameters"], after["parameters"])
    changed += _changed("source ", before["externals"], after["externals"])
    return changed


def changed_inputs(old: Recipe, new: Recipe) -> list[str]:
    """The roles whose inputs differ."""
    roles = sorted({*old.inputs, *new.inputs})
    return [role for role in roles if old.inputs.get(role) != new.inputs.get(role)]


def _changed(prefix: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    lines = []
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += _changed(f"{prefix}{name}.", before, after)
        elif before != after:
            lines.append(f"{prefix}{name} {_word(before)} → {_word(after)}")
    return lines


def _word(value: Any) -> str:
    return "(none)" if value is None else str(value)
