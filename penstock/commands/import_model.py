"""Make a LightGBM or CatBoost file, or a stage alone, a model of the store."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from registry.command import Console, Subparsers, add_command
from registry.errors import UsageError

if TYPE_CHECKING:
    from penstock.imported import Imported
    from penstock.opened import Registry
    from registry.aliases import Decision


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `import`."""
    parser = add_command(
        subparsers, "import", __doc__,
        example="penstock import model.txt --name churn --sample rows.parquet\n"
        "penstock import model.cbm --name churn --output probability --alias champion\n"
        "penstock import model.txt --name images --pre images/pixels",
        about="Make a LightGBM text file or a CatBoost cbm file a model of the store: inputs and "
        "vocabularies are read from it, and golden rows are recorded. The file is read in a process "
        "of its own, since nobody vouches for it yet. The same file gives the same key. Python of "
        "yours may stand before and after the model (docs/how-to/stages.md); with --pre and without "
        "FILE, what it makes is the answer.",
    )  # fmt: skip
    parser.add_argument("file", metavar="FILE", type=Path, nargs="?", help="written by save_model")
    parser.add_argument("--name", required=True, metavar="MODEL", help="a-z, 0-9, _ and -")
    parser.add_argument(
        "--sample",
        type=Path,
        metavar="PARQUET",
        help="rows with the inputs, to take golden rows from",
    )
    parser.add_argument(
        "--output", action="append", metavar="NAME", help="name of an output, in order; repeatable"
    )
    for place, where in (("pre", "before"), ("post", "after")):
        parser.add_argument(
            f"--{place}", metavar="USECASE/STAGE", default="", help=f"stage {where} the model"
        )
    parser.add_argument("--alias", metavar="ALIAS", help="promote it to this alias at once")
    parser.add_argument("--why", metavar="TEXT", help="kept with that decision")
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Import, promote if asked, and say how to promote otherwise."""
    from penstock.imported import Source, import_file
    from penstock.opened import open_registry
    from registry.aliases.decision import check_alias

    if args.file is None and not args.pre:
        raise UsageError("there is nothing to import", "", "Name a FILE, or a stage with --pre.")
    check_alias(args.name, args.alias or "champion")
    registry = open_registry(args)
    outputs = tuple(args.output or ())
    source = Source(args.file, args.sample, outputs, args.pre, args.post)
    imported = import_file(registry, source, args.name)
    decision = _promoted(registry, imported, args) if args.alias else None
    console.result({
        **registry.place(),
        "created": imported.created,
        "reference": imported.reference,
        "manifest": imported.manifest,
        "decision": decision,
    })  # fmt: skip
    _tell(console, imported, decision, args)
    return 0


def _promoted(registry: Registry, imported: Imported, args: argparse.Namespace) -> Decision:
    from penstock.commands.promote import promote

    why = args.why or f"imported from {args.file.name if args.file else args.pre}"
    about = (args.name, args.alias)
    current = registry.aliases.current(*about)
    if current and current.live and current.live.key == imported.manifest.key:
        return current  # importing the same file again changes nothing
    return promote(registry, about, imported.reference, imported.manifest, why=why)


def _tell(
    console: Console, imported: Imported, decision: Decision | None, args: argparse.Namespace
) -> None:
    key = imported.manifest.key[:16]
    console.line(
        f"{args.name} {key} {'is in the store' if imported.created else 'was there before'}"
    )
    console.line(f"inputs   {', '.join(imported.inputs)}")
    console.line(f"outputs  {', '.join(imported.outputs)}")
    if decision:
        name = f"{args.name}@{args.alias}"
        console.line(f"live at {name} (revision {decision.revision})")
        console.next(f"penstock serve {name}", "answer requests with it")
    else:
        console.next(f"penstock promote {args.name}@champion {key} --why TEXT", "make it live")
