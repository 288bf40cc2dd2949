"""Delete what nothing holds any more, a day after it was planned."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from registry.command import Console, Subparsers, add_command, natural, settings_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from registry.artifacts.collect import Garbage
    from registry.artifacts.collection import Collection, Done
    from registry.artifacts.store import Store
    from registry.settings import Settings


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `gc`."""
    parser = add_command(
        subparsers,
        "gc",
        __doc__,
        example="penstock gc --dry-run\npenstock gc\n"
        "penstock gc --keep-days 90 --keep predictions=365\n"
        "penstock gc --cancel 20130210T061500-3f9a1c",
        about="Delete what nothing holds any more. The first call records a plan; a call a day "
        "later (PENSTOCK_GC_DELAY) looks again and deletes what is still not held. What is live, "
        "the newest revisions of each alias, young artifacts, pins and decisions, and all that "
        "these were made from, stay. So do attempts, decisions and runs. Old job folders of this "
        "machine and half-written objects go at once.",
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would happen")
    parser.add_argument("--cancel", metavar="PLAN", help="withdraw a plan that has not begun")
    parser.add_argument(
        "--keep-days", metavar="DAYS", help="how long things hold (PENSTOCK_GC_KEEP_DAYS)"
    )
    parser.add_argument(
        "--keep", action="append", metavar="FAMILY=DAYS",
        help="the same for one family (PENSTOCK_GC_KEEP); repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--revisions", type=natural, metavar="N",
        help="revisions of an alias that hold (PENSTOCK_GC_REVISIONS)",
    )  # fmt: skip
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Delete what is due, plan anew, and tidy this machine; or say what that would be."""
    from registry.artifacts.provenance import refuse_dirty_production, running_code
    from registry.artifacts.store import open_environment

    settings = settings_of(
        args, gc_keep_days=args.keep_days, gc_keep=_joined(args.keep), gc_revisions=args.revisions
    )
    store = open_environment(settings)
    if not args.dry_run:
        refuse_dirty_production(settings.environment, running_code())
    if args.cancel:
        return _cancel(store, settings, args.cancel, console)
    return _collect(store, settings, console, now=time.time(), dry=args.dry_run)


def _joined(words: Sequence[str] | None) -> str | None:
    return ",".join(words) if words else None


def _cancel(store: Store, settings: Settings, name: str, console: Console) -> int:
    from pipelines.commands.status import checked_run
    from registry.artifacts.collection import cancel
    from registry.identity import who_am_i

    cancel(store, checked_run(name), who_am_i(settings), time.time())
    console.result({"cancelled": name})
    console.line(f"The plan {name} is withdrawn; nothing of it was deleted.")
    console.next("penstock gc --dry-run", "what a new plan would hold")
    return 0


def _collect(store: Store, settings: Settings, console: Console, *, now: float, dry: bool) -> int:
    from pipelines.keeping import Retention, roots_of
    from pipelines.sweep import leftovers, remove
    from registry.artifacts.collect import find_garbage
    from registry.artifacts.collection import pending

    roots = roots_of(store, Retention.of(settings))
    plans = pending(store)
    done = [] if dry else _delete(store, plans, roots, settings, now)
    waiting = [plan for plan in plans if now < plan.due]
    due = [plan for plan in plans if now >= plan.due] if dry else []
    garbage = find_garbage(store, roots, now)
    plan = None if dry else _plan(store, garbage, settings, now)
    left = leftovers(settings, now)
    if not dry:
        remove(left)
    found = _Found(done, waiting, due, garbage, plan, left)
    console.result(found.document())
    _tell(found, console, settings, dry=dry)
    return 0


class _Found:
    """What one call found and did."""

    def __init__(
        self, done: list[Done], waiting: list[Collection], due: list[Collection],
        garbage: Garbage, plan: Collection | None, left: list[Path],
    ) -> None:  # fmt: skip
        self.done, self.waiting, self.due = done, waiting, due
        self.garbage, self.plan, self.left = garbage, plan, left

    def document(self) -> dict[str, Any]:
        """The same for a script."""
        return {
            "deleted": self.done,
            "due": self.due,
            "waiting": self.waiting,
            "planned": self.plan.name if self.plan else None,
            "garbage": {
                "artifacts": self.garbage.artifacts,
                "orphans": self.garbage.orphans,
                "kept": self.garbage.kept,
                "unknown": self.garbage.unknown,
            },
            "leftovers": self.left,
        }


def _delete(
    store: Store, plans: list[Collection], roots: Any, settings: Settings, now: float
) -> list[Done]:
    from registry.artifacts.collect import collect
    from registry.identity import who_am_i

    done = [collect(store, plan, roots, who_am_i(settings), now) for plan in plans]
    return [each for each in done if each is not None]


def _plan(store: Store, garbage: Garbage, settings: Settings, now: float) -> Collection | None:
    from pipelines.runs import new_run_id
    from registry.artifacts.collect import plan_collection
    from registry.identity import who_am_i

    if not garbage.artifacts and not garbage.orphans:
        return None
    who = who_am_i(settings)
    return plan_collection(store, new_run_id(), garbage, who, now, settings.gc_delay)


def _tell(found: _Found, console: Console, settings: Settings, *, dry: bool) -> None:
    for done in found.done:
        console.line(f"deleted    {done.artifacts} artifacts ({_size(done.bytes)}), "
                     f"{done.orphans} files of attempts; {len(done.spared)} spared")  # fmt: skip
    for plan in found.due:
        console.line(f"due        {plan.name}: {len(plan.artifacts)} artifacts")
    for plan in found.waiting:
        hours = (plan.due - time.time()) / 3600
        console.line(f"waiting    {plan.name}: {len(plan.artifacts)} artifacts, in {hours:.1f} h")
    _tell_garbage(found.garbage, console)
    console.line(f"leftovers  {len(found.left)} on this machine" + ("" if dry else ", removed"))
    hours = settings.gc_delay / 3600
    if dry:
        console.next("penstock gc", f"record the plan; what it holds is deleted {hours:g} h later")
    elif found.plan:
        console.next("penstock gc", f"in {hours:g} h: delete what {found.plan.name} plans")
    else:
        console.next("penstock models", "what is live, since when, by whom")


def _tell_garbage(garbage: Garbage, console: Console) -> None:
    families = sorted({doomed.family for doomed in garbage.artifacts})
    rows = [
        [family, len(mine), _size(sum(doomed.bytes for doomed in mine))]
        for family in families
        if (mine := [doomed for doomed in garbage.artifacts if doomed.family == family])
    ]
    if rows:
        console.table(["held by nothing", "artifacts", "size"], rows)
    console.line(f"kept       {garbage.kept} artifacts")
    console.line(f"orphans    {len(garbage.orphans)} files of attempts that lost or died")
    if garbage.unknown:
        console.line(f"unknown    {garbage.unknown} files of no known attempt; they stay", "yellow")


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"
