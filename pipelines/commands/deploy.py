"""Deploy a serving service on Nomad, as a canary first."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.commands.register import add_values, environment_of, tell_planned
from registry.command import Console, Subparsers, add_command, natural, settings_of

if TYPE_CHECKING:
    from pipelines.registration.cluster import Cluster
    from pipelines.registration.register import Planned
    from pipelines.registration.rollout import Progress
    from registry.settings import Settings


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `deploy`."""
    parser = add_command(
        subparsers,
        "deploy",
        __doc__,
        example="penstock deploy flights@champion --image registry.example.com/penstock:1.4.0\n"
        "penstock deploy --promote\n"
        "penstock deploy --revert\n"
        "penstock deploy flights@champion churn --service scoring --dev --plan",
        about="Register a service that answers with what is live at the aliases, and follow its "
        "deployment. A new version starts beside the old one; once its canaries are healthy it "
        "waits for --promote. One that does not become healthy is reverted by Nomad, and this "
        "ends with 77 and says why. A new model needs no deployment: services follow the alias.",
    )
    parser.add_argument("models", metavar="ALIAS", nargs="*", help="what it serves")
    parser.add_argument(
        "--service", default="serving", metavar="NAME", help="which service (default: serving)"
    )
    parser.add_argument(
        "--promote", action="store_true",
        help="promote healthy canaries: those of this call, or without ALIAS those that wait",
    )  # fmt: skip
    parser.add_argument(
        "--revert", action="store_true", help="without ALIAS: go back to the version before"
    )
    parser.add_argument(
        "--timeout", type=natural, default=900, metavar="SECONDS",
        help="how long to follow it (default: 900)",
    )  # fmt: skip
    parser.add_argument("--no-wait", action="store_true", help="do not follow it")
    add_values(parser)
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Register and follow, or promote or revert what is there."""
    from pipelines.registration.cluster import service_cluster
    from registry.errors import UsageError

    if bool(args.models) == (args.revert or (args.promote and not args.models)):
        raise UsageError(
            "it is not said what to do", "", "Name what to serve, or give --promote or --revert."
        )
    settings = settings_of(args)
    cluster = service_cluster(settings)
    try:
        if args.models:
            return _deploy(args, settings, cluster, console)
        return _continue(args, f"{settings.nomad_prefix}-{args.service}", cluster, console)
    finally:
        cluster.close()


def _deploy(
    args: argparse.Namespace, settings: Settings, cluster: Cluster, console: Console
) -> int:
    from pipelines.registration.register import register

    planned = _planned(args, settings, cluster)
    tell_planned(planned, console)
    document: dict[str, object] = {
        "id": planned.name,
        "action": planned.action,
        "changes": planned.changes,
    }
    if args.plan:
        console.result({**document, "outcome": None})
        console.next("penstock deploy", "the same words without --plan do it")
        return 0
    reply = register(cluster, planned)
    if reply is None:
        console.line(f"{planned.name} is as it was; nothing to deploy.")
    if args.no_wait:
        console.result({**document, "outcome": None})
        return 0
    index = int(reply["JobModifyIndex"]) if reply else planned.index
    return _follow(args, cluster, planned.name, index, document, console)


def _planned(args: argparse.Namespace, settings: Settings, cluster: Cluster) -> Planned:
    from pipelines.registration import wanted
    from pipelines.registration.register import plan
    from pipelines.registration.specs import find_folder, known_variables
    from pipelines.registration.values import given_values

    folder: Path = find_folder(args.specs)
    given = given_values(args.var_file, args.var, known_variables(folder))
    checkout = folder.parent if args.dev else None
    common = wanted.shared(settings, image=args.image, checkout=checkout)
    more = environment_of(args)
    service = wanted.service(folder, args.service, args.models, common, os.environ, more)
    return plan(cluster, service, given)


def _continue(args: argparse.Namespace, name: str, cluster: Cluster, console: Console) -> int:
    """Promote or revert what is there."""
    from pipelines.registration.rollout import present, step_back

    if args.promote:
        index = int(present(cluster, name)["JobSpecModifyIndex"])
        return _follow(args, cluster, name, index, {"id": name}, console)
    index = step_back(cluster, name)
    console.line(f"{name} goes back to the version before.")
    if not index:
        index = int(cluster.service(name)["JobModifyIndex"])
    args.promote = True  # who goes back wants the old version everywhere
    return _follow(args, cluster, name, index, {"id": name}, console)


def _follow(
    args: argparse.Namespace, cluster: Cluster, name: str, index: int,
    document: dict[str, object], console: Console,
) -> int:  # fmt: skip
    from pipelines.registration.rollout import Rollout, settle
    from registry.errors import Refused

    def tell(progress: Progress) -> None:
        console.line(f"{name}: {progress}")

    rollout = Rollout(cluster, name, index, tell)
    outcome, progress = rollout.follow(args.timeout, promote=args.promote)
    why = progress.why if progress else []
    if outcome == "reverted":
        settle(cluster, name, args.timeout)
        raise Refused(
            f"the deployment of {name} failed",
            "; ".join([progress.text if progress else "", *why]).strip("; "),
            "The version before serves on. Mend it and deploy again.",
        )
    console.result({**document, "outcome": outcome, "why": why})
    _tell_outcome(outcome, name, console)
    return 0


def _tell_outcome(outcome: str, name: str, console: Console) -> None:
    if outcome == "waiting":
        console.line(
            f"The canaries of {name} are healthy and take their share of requests.", "bold"
        )
        console.next("penstock deploy --promote", "or --revert")
    elif outcome == "replaced":
        console.line(f"Another registration of {name} has taken the place of this one.", "yellow")
    else:
        console.line(f"{name} is deployed.", "bold")
        console.next("penstock models", "what its instances have loaded")
