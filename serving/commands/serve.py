"""Answer requests with what is live, and follow every change of it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from registry.command import Console, Subparsers, add_command, settings_of

if TYPE_CHECKING:
    from registry.settings import Settings


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `serve`."""
    parser = add_command(
        subparsers,
        "serve",
        __doc__,
        example="penstock serve flights@champion\n"
        "penstock serve flights@champion churn --port 0 --address-file var/address",
        about="Answer requests over HTTP with what is live at the aliases, until Ctrl-C. A promotion "
        "or rollback changes the model without a failed request.",
    )
    parser.add_argument(
        "models", metavar="ALIAS", nargs="+", help="flights@champion; champion if left out"
    )
    parser.add_argument("--host", metavar="ADDRESS", help="PENSTOCK_SERVING_HOST")
    parser.add_argument(
        "--port", type=a_port, metavar="N", help="PENSTOCK_SERVING_PORT; 0 takes any free one"
    )
    parser.add_argument(
        "--grpc-port", type=a_port, metavar="N", help="PENSTOCK_SERVING_GRPC_PORT; no gRPC if unset"
    )
    parser.add_argument(
        "--address-file", metavar="FILE", type=Path, help="write host:port here once it is open"
    )
    return parser


def a_port(text: str) -> int:
    """The port that `text` names. Raises argparse.ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def run(args: argparse.Namespace, console: Console) -> int:
    """Serve until told to stop."""
    from serving.service import parse_models, serve

    wanted = parse_models(args.models)
    settings = settings_of(
        args, serving_host=args.host, serving_port=args.port, serving_grpc_port=args.grpc_port
    )
    for model, alias in wanted:
        _look(settings, model, alias, console)
    out = sys.stderr if console.json else sys.stdout
    serve(settings, args.models, address_file=args.address_file, out=out)
    console.next("penstock models", "what is live, since when, by whom")
    return 0


def _look(settings: Settings, model: str, alias: str, console: Console) -> None:
    """Bring the head in step with the log, and say where nothing is live yet.

    The service starts all the same: it may know the last good model although the store is away.
    """
    from registry.aliases import open_aliases
    from registry.artifacts.store import open_environment
    from registry.errors import PenstockError

    try:
        newest = open_aliases(settings, open_environment(settings)).current(model, alias)
    except PenstockError as error:
        console.note(f"the decisions about {model}@{alias} cannot be read now: {error}")
        return
    if newest is None or newest.live is None:
        console.note(
            f"nothing is live at {model}@{alias} yet: requests get 503 until a model is published "
            f"or `penstock promote {model}@{alias} KEY --why TEXT` is run"
        )
