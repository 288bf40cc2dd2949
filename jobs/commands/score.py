"""Score Parquet files with a model, in memory that does not grow with them."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from registry.command import Console, Subparsers, add_command, natural, settings_of

if TYPE_CHECKING:
    from registry.settings import Settings


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `score`."""
    parser = add_command(
        subparsers,
        "score",
        __doc__,
        example="penstock score rows.parquet scored.parquet --model flights@champion --id flight_id\n"
        "penstock score s3://lake/rows/ scored.parquet --model 0f3a9c5e71b2d864 "
        "--quarantine-limit 0.1%",
        about="Score the rows of Parquet files: OUT gets the columns named by --id and --carry and the "
        "model's outputs, in the order of IN, and appears only when it is complete. Killed and called "
        "again, it scores the shards that are missing.",
    )
    parser.add_argument(
        "source", metavar="IN", help="Parquet: a file, a folder, a pattern, or s3://bucket/…"
    )
    parser.add_argument("target", metavar="OUT", type=Path, help="Parquet to write; must not exist")
    parser.add_argument(
        "--model", required=True, help="flights@champion, a key, or the folder of a bundle"
    )
    parser.add_argument(
        "--id", action="append", default=[], metavar="COLUMN",
        help="carry along; a row without it is bad; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--carry", action="append", default=[], metavar="COLUMN", help="carry along; repeatable"
    )
    parser.add_argument("--carry-all", action="store_true", help="carry every column along")
    parser.add_argument(
        "--infinity", action="append", default=[], metavar="COLUMN",
        help="an input that may hold infinity; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--quarantine", type=Path, metavar="FILE",
        help="Parquet for the rows that cannot be scored; default: OUT.quarantine.parquet",
    )  # fmt: skip
    parser.add_argument(
        "--quarantine-limit", default="0", metavar="LIMIT",
        help="how many there may be: 0.1%%, 500 or 0.1%%,500; default: none",
    )  # fmt: skip
    parser.add_argument(
        "--shards", type=natural, metavar="N", help="default: one for each million rows, if many"
    )
    parser.add_argument(
        "--threads", type=natural, metavar="N", help="default: one for each processor"
    )
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Score, and tell how far it is."""
    from jobs.scoring.engine import Columns, processors
    from jobs.scoring.progress import Progress
    from jobs.scoring.rules import Rules, parse_limit
    from jobs.scoring.score import Asked, quarantine_beside, score
    from jobs.scoring.sources import find_sources

    settings = settings_of(args)
    rules = Rules(frozenset(args.infinity), *parse_limit(args.quarantine_limit))
    folder, key = locate(args.model, settings)
    asked = Asked(
        folder,
        find_sources([args.source], settings),
        args.target,
        args.quarantine or quarantine_beside(args.target),
        Columns(args.id, args.carry),
        rules,
        args.threads or processors(),
        args.shards,
        args.carry_all,
    )
    started = time.monotonic()
    done = score(asked, Progress(console).show)
    seconds = time.monotonic() - started
    document = {"rows": done.rows, "out": args.target, "model": key, "seconds": seconds}
    more = {"quarantined": done.quarantined, "shards": done.shards, "shards_found": done.found}
    console.result({**document, **more})
    if done.found:
        console.line(f"{done.found} of {done.shards} shards were scored by an earlier call")
    console.line(f"{done.rows:,} rows scored in {seconds:.1f} s with {key[:16]}: {args.target}")
    if done.quarantined:
        console.line(f"{done.quarantined:,} rows were left out: {asked.quarantine}", "yellow")
    console.next("penstock models", "what is live, since when, by whom")
    return 0


def locate(name: str, settings: Settings) -> tuple[Path, str]:
    """The bundle that `name` means, as a folder, and its key (or the folder's name).

    Raises:
        NotFound, UsageError, Corrupt: see `registry.names.find_named`.
    """
    from registry.artifacts.fetch import fetch
    from registry.artifacts.store import open_environment
    from registry.names import find_named

    folder = Path(name)
    if "/" in name or (folder / "bundle.json").is_file():
        return folder, folder.resolve().name
    store = open_environment(settings)
    reference, manifest = find_named(settings, store, name)
    return fetch(store, reference, Path(settings.var) / "cache" / "artifacts"), manifest.key
