"""Ask another model what a service was asked, and compare the answers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.command import Console, Subparsers, add_command, natural, settings_of

if TYPE_CHECKING:
    from penstock.replay import Replayed


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `replay`."""
    parser = add_command(
        subparsers, "replay", __doc__,
        example="penstock replay var/requests --against flights@challenger\n"
        "penstock replay var/requests/flights/49d6012ea7b2693a --against 0f3a9c5e71b2d864 "
        "--tolerance 0.01 --allow 1%",
        about="Score a request log (PENSTOCK_SERVING_REQUEST_LOG) in this process with another model, "
        "and tell how far its answers are from those that clients got. Rows that were not answered are "
        "passed over. With --tolerance the comparison is judged: exit code 77 if more rows than --allow "
        "says differ by more.",
    )  # fmt: skip
    parser.add_argument("log", metavar="LOG", type=Path, help="a folder of the log, or one file")
    parser.add_argument(
        "--against", required=True, metavar="MODEL", help="flights@challenger, or a key"
    )
    parser.add_argument(
        "--tolerance", type=a_distance, metavar="X", help="by how much an answer may differ"
    )
    parser.add_argument(
        "--allow", type=a_share, default=0.0, metavar="SHARE",
        help="share of the rows that may differ by more: 0.01 or 1%%; default: none",
    )  # fmt: skip
    parser.add_argument(
        "--worst", type=natural, default=10, metavar="N", help="rows to show; default: 10"
    )
    parser.add_argument(
        "--threads", type=natural, default=1, metavar="N", help="of the model; default: 1"
    )
    return parser


def a_distance(text: str) -> float:
    """A number from 0 on. Raises argparse.ArgumentTypeError."""
    from registry.parsers import non_negative

    try:
        return non_negative(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on") from None


def a_share(text: str) -> float:
    """A share from 0 to 1, or in percent. Raises argparse.ArgumentTypeError."""
    from registry.parsers import sample

    try:
        return sample(str(float(text[:-1]) / 100) if text.endswith("%") else text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a share nor in percent") from None


def run(args: argparse.Namespace, console: Console) -> int:
    """Replay, tell, judge."""
    from penstock.loaded import open_model
    from penstock.replay import replay
    from registry.errors import Refused

    settings = settings_of(args)
    place = {"store": settings.store, "environment": settings.environment}
    with open_model(args.against, **place, threads=args.threads) as model:
        found = replay(args.log, model, tolerance=args.tolerance or 0.0, most=args.worst)
        key = model.key
    console.result({"against": key, **_document(found)})
    _show(found, key, console)
    if args.tolerance is not None and found.changed > args.allow:
        console.line(f"that is more than the {args.allow:.2%} that may", "red")
        return Refused.exit_code
    console.next("penstock promote ALIAS KEY --why TEXT", "let it answer requests")
    return 0


def _document(found: Replayed) -> dict[str, Any]:
    return {
        "rows": found.rows,
        "requests": len(found.requests),
        "skipped": found.skipped,
        "files": found.files,
        "versions": sorted(found.versions),
        "tolerance": found.tolerance,
        "changed": found.changed,
        "outputs": found.outputs(),
        "worst": [worst._asdict() for worst in sorted(found.worst, reverse=True)],
    }


def _show(found: Replayed, key: str, console: Console) -> None:
    skipped = f", {found.skipped:,} without an answer passed over" if found.skipped else ""
    console.line(
        f"{found.rows:,} rows of {len(found.requests):,} requests, answered by "
        f"{', '.join(sorted(found.versions))}, against {key[:16]}{skipped}"
    )
    console.line(f"{found.changed:.2%} of the rows differ by more than {found.tolerance:g}")
    outputs = found.outputs()
    levels = list(outputs[0]["quantiles"])
    header = ["output", "mean", "shift", *(f"p{100 * float(level):g}" for level in levels), "max"]
    console.table(
        header,
        [
            [told["output"], *(f"{v:.3g}" for v in (told["mean"], told["shift"])),
             *(f"{v:.3g}" for v in told["quantiles"].values()), f"{told['max']:.3g}"]
            for told in outputs
        ],
    )  # fmt: skip
    if found.worst:
        console.line()
        console.table(
            ["request", "row", "output", "answered", "replayed"],
            [
                [w.request, w.row, w.output, f"{w.logged:.6g}", f"{w.replayed:.6g}"]
                for w in sorted(found.worst, reverse=True)
            ],
        )
