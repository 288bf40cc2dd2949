"""Begin a use case of your own, on a sample or on a file of yours."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from registry.command import Console, Subparsers, add_command

if TYPE_CHECKING:
    from penstock.scaffold.create import Created
    from penstock.scaffold.described import Roles


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `new`."""
    parser = add_command(
        subparsers, "new", __doc__,
        example="penstock new churn\n"
        "penstock new churn --from customers.csv --time signed_up --id customer --label left\n"
        "penstock new churn --from rows.parquet --time at --id order --label fraud --known-at settled\n"
        "penstock new churn --from customers.csv --time day --id nr --label left --without reason",
        about="Write usecases/NAME, its tests and its page: sources, features, label, expectations "
        "and settings that work at once, to be edited. Without --from they read a sample in that "
        "folder. With --from they read your CSV or Parquet where it lies; every column that can be "
        "one becomes a feature. Nothing is overwritten.",
    )  # fmt: skip
    parser.add_argument(
        "name", metavar="NAME", help="a letter, then a-z, 0-9 and _; also the model's"
    )
    parser.add_argument(
        "--from", "--from-csv", dest="source", metavar="FILE", type=Path, help="a CSV or Parquet"
    )
    parser.add_argument(
        "--time", metavar="COLUMN", help="when a row is asked about; its day (UTC) is that time's"
    )
    parser.add_argument("--id", metavar="COLUMN", help="names a row; unique within a day")
    parser.add_argument("--label", metavar="COLUMN", help="what to predict; two values")
    parser.add_argument(
        "--positive",
        metavar="TEXT",
        help="the value that means yes; found where it is 1, true, yes",
    )
    parser.add_argument(
        "--known-at", metavar="COLUMN", help="when the label was known; default: a day after --time"
    )
    parser.add_argument(
        "--without", action="append", default=[], metavar="COLUMN",
        help="a column that is not known at the time of a row; may be given again",
    )  # fmt: skip
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Write the use case and say what to do next."""
    from penstock.scaffold.create import create

    created = create(args.name, args.source, _roles(args), args.positive, args.without)
    date = created.file.run_date
    console.result({
        "usecase": created.name,
        "paths": created.paths,
        "features": [column.name for column in created.file.columns],
        "left_out": created.file.left_out,
        "first_date": created.file.first,
        "last_date": created.file.last,
        "date": date,
    })  # fmt: skip
    _tell(console, created, str(date))
    return 0


def _roles(args: argparse.Namespace) -> Roles | None:
    """The roles of columns, all three with --from, none without. Raises UsageError otherwise."""
    from penstock.scaffold.described import Roles
    from registry.errors import UsageError

    given = {"--time": args.time, "--id": args.id, "--label": args.label}
    if args.source is None:
        named = [flag for flag, value in given.items() if value is not None]
        further = {"--known-at": args.known_at, "--positive": args.positive}
        named += [flag for flag, value in (further | {"--without": args.without}).items() if value]
        if named:
            raise UsageError(
                f"{', '.join(named)} without --from", "the sample has its columns", "Add --from."
            )
        return None
    missing = [flag for flag, value in given.items() if value is None]
    if missing:
        raise UsageError(
            f"--from needs {', '.join(missing)}",
            "a file does not say which of its columns these are",
            "For example --time signed_up --id customer --label left.",
        )
    names = [value for value in (*given.values(), args.known_at) if value]
    if len(set(names)) < len(names):
        raise UsageError("a column has two roles", ", ".join(names), "Name a column for each.")
    return Roles(args.time, args.id, args.label, args.known_at)


def _tell(console: Console, created: Created, date: str) -> None:
    name, file = created.name, created.file
    for path in created.paths:
        console.line(f"wrote  {path}", "dim")
    features = ", ".join(column.name for column in file.columns)
    console.line(f"features of {name}: {features}, recent_rate")
    for column, why in file.left_out.items():
        console.line(f"left out: {column}, {why}", "yellow")
    console.line(f"days: {file.first} to {file.last}")
    console.line()
    console.line("1. Is each feature known at the time of its row?")
    console.line(f"   If not, strike it from COLUMNS in usecases/{name}/sources.py.")
    for number, (command, what) in enumerate(
        (
            (f"penstock plan {name} --date {date}", "what a run would do"),
            (f"penstock run {name} --date {date}", "train, evaluate, publish, predict"),
            (f"penstock serve {name}@champion", "answer requests"),
            (f".venv/bin/pytest tests/usecases/{name}", "its own tests"),
        ),
        2,
    ):
        console.line(f"{number}. {command:<45}  {what}")
    console.next(f"penstock plan {name} --date {date}", "what a run would do")
