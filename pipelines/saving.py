"""What better first sizes would save: sizes by the peaks that were measured, beside those asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from pipelines.cost import Prices, usage_of
from pipelines.needs import Need, suggested
from pipelines.runners.sizes import LADDER, SIZES, next_size
from pipelines.runners.states import Kind
from pipelines.sizing import Group, group_of
from registry.artifacts.catalog import Catalog
from registry.artifacts.journal import Tried


@dataclass(frozen=True)
class Spent:
    """One measured attempt: its size, peak in MiB, seconds, and whether memory ran out."""

    size: str
    peak_mb: float
    wall_s: float
    too_small: bool


@dataclass
class Saving:
    """A kind of step: what was asked, what its peaks ask for, and what that saves.

    `cpu_s` are processor seconds and `mb_s` MiB·seconds that would not have been held; less than
    zero where the better size holds more.
    """

    step: str
    asked: str
    better: str
    peak_mb: float
    attempts: int
    cpu_s: float = 0.0
    mb_s: float = 0.0
    price: float = 0.0


def savings(catalog: Catalog, tries: Iterable[Tried], prices: Prices) -> list[Saving]:
    """For each kind of step whose sizes could be better, the most saving first."""
    groups: dict[Group, list[Spent]] = {}
    for tried in tries:
        used = usage_of(catalog, tried) if tried.attempt.size in LADDER else None
        if used is not None:
            too_small = tried.end is not None and tried.end.kind == Kind.OOM
            spent = Spent(tried.attempt.size, used["peak_mb"], used["wall_s"], too_small)
            groups.setdefault(group_of(tried.attempt.spec.recipe.recipe()), []).append(spent)
    found = [saving_of(_words(group), spent, prices) for group, spent in groups.items()]
    found = [each for each in found if each.mb_s > 0 or each.cpu_s > 0]
    return sorted(found, key=lambda each: (-each.mb_s, each.step))


def saving_of(step: str, spent: list[Spent], prices: Prices) -> Saving:
    """What the attempts of one kind of step would have saved at the size that their peaks ask for.

    Attempts that ran out of memory would not have been: all that they held is saved.
    """
    better = suggested([_need(each) for each in spent])
    counts = Counter(each.size for each in spent)
    asked = ", ".join(f"{counts[size]} × {size}" for size in LADDER if counts[size])
    saving = Saving(step, asked, better, max(e.peak_mb for e in spent), len(spent))
    for each in spent:
        held, enough = SIZES[each.size], SIZES[better]
        saving.cpu_s += (held.cpus - (0 if each.too_small else enough.cpus)) * each.wall_s
        saving.mb_s += (held.memory_mb - (0 if each.too_small else enough.memory_mb)) * each.wall_s
    saving.price = prices.of(saving.cpu_s, saving.mb_s)
    return saving


def _need(spent: Spent) -> Need:
    # The peak of a job that ran out of memory says only that it needed more.
    least = next_size(spent.size) or spent.size
    return Need(spent.peak_mb, least=least if spent.too_small else None)


def _words(group: Group) -> str:
    family, name, told = group
    return " ".join(word for word in (family, name, *told) if word)
