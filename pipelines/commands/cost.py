"""Show what work cost: processors, memory and time, asked against used."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from registry.command import Console, Subparsers, add_command, natural, settings_of

if TYPE_CHECKING:
    from pipelines.cost import Bill
    from pipelines.saving import Saving

_SHOWN = 20
_GIB_HOUR = 1024 * 3600  # in MiB·seconds


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `cost`."""
    parser = add_command(
        subparsers,
        "cost",
        __doc__,
        example="penstock cost\n"
        "penstock cost --family --usecase flights\n"
        "penstock cost --day --price-cpu-hour 0.04 --price-gib-hour 0.005",
        about="Add up what attempts held and used: for each run (the default), family of artifacts "
        "or day (UTC). Failed attempts count, and are told. The price is that of what was asked "
        "for, as long as the job ran; without prices there is no such column. By family it ends "
        "with what better first sizes would have saved.",
    )
    groups = parser.add_mutually_exclusive_group()
    for name, text in (("run", "the default"), ("family", ""), ("day", "in UTC")):
        more = f", {text}" if text else ""
        groups.add_argument(
            f"--{name}", dest="by", action="store_const", const=name, help=f"by {name}{more}"
        )
    parser.set_defaults(by="run")
    parser.add_argument("--usecase", metavar="NAME", help="only work of this use case")
    parser.add_argument(
        "--price-cpu-hour", metavar="X", help="of a processor (PENSTOCK_PRICE_CPU_HOUR)"
    )
    parser.add_argument(
        "--price-gib-hour", metavar="X", help="of a GiB of memory (PENSTOCK_PRICE_GIB_HOUR)"
    )
    parser.add_argument(
        "--limit", type=natural, default=_SHOWN, metavar="N", help="rows to show; the sum is of all"
    )
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Add up and show."""
    from pipelines.cost import Prices, bills
    from pipelines.saving import savings
    from registry.artifacts.catalog import Catalog
    from registry.artifacts.journal import Journal
    from registry.artifacts.store import open_environment

    settings = settings_of(
        args, price_cpu_hour=args.price_cpu_hour, price_gib_hour=args.price_gib_hour
    )
    prices = Prices(settings.price_cpu_hour, settings.price_gib_hour)
    store = open_environment(settings)
    journal = Journal(store)
    journal.refresh()
    tries = [
        tried for tried in journal.tries() if args.usecase in (None, tried.attempt.spec.recipe.name)
    ]
    catalog = Catalog(store)
    found, total = bills(catalog, tries, args.by, prices)
    saved = savings(catalog, tries, prices) if args.by == "family" else []
    console.result(
        {"by": args.by, "prices": prices, "bills": found, "total": total, "savings": saved}
    )
    if not found:
        console.line(f"No work was done yet in {store.url}.")
        console.next("penstock run flights --date 2013-02-10", "do some")
        return 0
    _table(found, total, args, console)
    _tell_savings(saved, bool(total.price), console)
    other = "family" if args.by == "run" else "run"
    console.next(f"penstock cost --{other}", f"the same by {other}")
    return 0


def _table(found: list[Bill], total: Bill, args: argparse.Namespace, console: Console) -> None:
    priced = bool(total.price)
    header = [args.by, "attempts", "failed", "wall s", "failed s", "CPU s asked", "used", "%"]
    header += ["GiB h asked", "peaks", "%", *(["price"] if priced else [])]
    shown = found[: args.limit]
    console.table(header, [_row(bill, priced) for bill in [*shown, total]])
    if len(found) > len(shown):
        console.line(f"{len(found) - len(shown)} more rows; the last row is the sum of all.")
    if total.unmeasured:
        console.line(f"{total.unmeasured} attempts have no measured end; they count as nothing.")


def _tell_savings(savings: list[Saving], priced: bool, console: Console) -> None:
    """What the sizes that the peaks ask for would have saved; nothing where none is better."""
    if not savings:
        return
    console.line()
    console.line("Better first sizes, by the peaks (new runs choose them by themselves):")
    header = ["step", "asked", "better", "peak MiB", "CPU s saved", "GiB h saved"]
    rows = [
        [
            saving.step, saving.asked, saving.better, round(saving.peak_mb),
            _number(saving.cpu_s), _number(saving.mb_s / _GIB_HOUR, 3),
            *([_number(saving.price, 4)] if priced else []),
        ]
        for saving in savings
    ]  # fmt: skip
    console.table([*header, *(["price saved"] if priced else [])], rows)


def _row(bill: Bill, priced: bool) -> list[object]:
    return [
        bill.group, bill.attempts, bill.failed, _number(bill.wall_s), _number(bill.failed_s),
        _number(bill.cpu_asked_s), _number(bill.cpu_used_s), _percent(bill.cpu_share),
        _number(bill.mb_s_asked / _GIB_HOUR, 3), _number(bill.mb_s_used / _GIB_HOUR, 3),
        _percent(bill.memory_share), *([_number(bill.price, 4)] if priced else []),
    ]  # fmt: skip


def _number(value: float, digits: int = 1) -> float:
    return round(value, digits)


def _percent(share: float | None) -> object:
    return "" if share is None else round(share)
