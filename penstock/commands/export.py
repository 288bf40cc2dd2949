"""Write a model of the store as ONNX, with the measured difference beside it."""

from __future__ import annotations

import argparse
from pathlib import Path

from registry.command import Console, Subparsers, add_command
from registry.parsers import positive


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `export`."""
    parser = add_command(
        subparsers,
        "export",
        __doc__,
        example="penstock export flights@champion --onnx flights.onnx\n"
        "penstock export 0f3a9c5e71b2d864 --onnx churn.onnx --sample rows.parquet --tolerance 1e-4",
        about="Write a LightGBM or CatBoost model as ONNX, for runtimes that penstock does not "
        "serve. Its outputs are compared with the bundle's, on the golden rows and on a sample; what "
        "was measured lies beside it in FILE.json and in the file's metadata, with the signature by "
        "which a reader encodes. Where they differ by more than the tolerance nothing is written "
        "(exit 77).",
    )
    parser.add_argument("name", metavar="KEY|ALIAS", help="16 digits or more of a key, or an alias")
    parser.add_argument(
        "--onnx", required=True, type=Path, metavar="FILE", help="where to write; replaced if there"
    )
    parser.add_argument(
        "--sample",
        type=Path,
        metavar="PARQUET",
        help="rows to compare on; default: the last day that the model learnt from",
    )
    parser.add_argument(
        "--tolerance",
        type=positive,
        default=1e-5,
        metavar="NUMBER",
        help="largest difference of an output that passes; default: 1e-5",
    )
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Export, and say how exact it is."""
    from penstock.exported import export
    from penstock.opened import open_registry

    registry = open_registry(args)
    manifest, deviation = export(
        registry, args.name, args.onnx, sample=args.sample, tolerance=args.tolerance
    )
    beside = f"{args.onnx}.json"
    console.result({
        **registry.place(), "key": manifest.key, "onnx": str(args.onnx), "facts": beside,
        "deviation": deviation,
    })  # fmt: skip
    console.line(f"{manifest.model} {manifest.key[:16]} is written to {args.onnx}")
    console.line(
        f"largest difference {deviation.largest:.3g} over golden rows and {deviation.rows:,} others,"
        f" allowed {deviation.tolerance:g}"
    )
    console.line(f"what was measured, and the signature: {beside}")
    return 0
