"""Score a Parquet file with a model, in memory that does not grow with the file."""

from __future__ import annotations

import argparse
import os
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
        "penstock score rows.parquet scored.parquet --model 0f3a9c5e71b2d864",
        about="Score the rows of a Parquet file: OUT gets the columns named by --id and the model's "
        "outputs, in the order of IN, and appears only when it is complete.",
    )
    parser.add_argument("source", metavar="IN", type=Path, help="Parquet with the model's inputs")
    parser.add_argument("target", metavar="OUT", type=Path, help="Parquet to write; must not exist")
    parser.add_argument(
        "--model", required=True, help="flights@champion, a key, or the folder of a bundle"
    )
    parser.add_argument(
        "--id", action="append", default=[], metavar="COLUMN", help="carry along; repeatable"
    )
    parser.add_argument(
        "--threads", type=natural, metavar="N", help="default: one for each processor"
    )
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Score, with progress on a terminal."""
    from registry.models.scoring import score

    folder, key = locate(args.model, settings_of(args))
    started = time.monotonic()
    rows = score(
        folder,
        args.source,
        args.target,
        ids=args.id,
        threads=args.threads or os.cpu_count() or 1,
        progress=lambda done, total: console.progress("rows scored", done, total),
    )
    seconds = time.monotonic() - started
    console.result({"rows": rows, "out": args.target, "model": key, "seconds": seconds})
    console.line(f"{rows:,} rows scored in {seconds:.1f} s with {key[:16]}: {args.target}")
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
