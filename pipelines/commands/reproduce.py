"""Make an artifact again in a scratch store, and tell whether it is the same."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from registry.command import Console, Subparsers, add_command, settings_of

if TYPE_CHECKING:
    from pipelines.reproduce import Verdict
    from pipelines.runners.protocol import Runner
    from registry.artifacts.store import Store
    from registry.settings import Settings

DIFFERENT = 65
#: Artifacts that are prepared and waited for at once.
AT_ONCE = 8


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `reproduce`."""
    parser = add_command(
        subparsers,
        "reproduce",
        __doc__,
        example="penstock reproduce 0f3a9c5e71b2d864\n"
        "penstock reproduce --all 20130210T061500-3f9a1c\n"
        "penstock reproduce --all",
        about="Make an artifact again from its manifest's recipe and inputs, in a scratch store, "
        "and compare the files. Exit code 0 when they are equal, 65 when not: then the files that "
        "differ are named with the first field, row or byte. Either way it says what differs in "
        "code and libraries between its producer and now.",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("key", nargs="?", metavar="KEY", help="16 digits or more of a key")
    which.add_argument(
        "--all", nargs="?", const="", metavar="RUN",
        help="everything that this run made; without RUN, everything there is",
    )  # fmt: skip
    parser.add_argument("--keep", action="store_true", help="leave the scratch store, and name it")
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Reproduce, tell, and return 0 if everything was equal."""
    from registry.artifacts.store import open_environment

    settings = settings_of(args)
    store = open_environment(settings)
    if args.key:
        keys = [args.key]
    else:
        keys = _made_by(store, args.all) if args.all else _made_here(store, console)
    folder = _scratch(settings)
    try:
        verdicts = _reproduced(settings, store, keys, folder, console)
    finally:
        if not args.keep:
            shutil.rmtree(folder, ignore_errors=True)
    kept = str(folder) if args.keep else None
    console.result({"verdicts": verdicts, "scratch": kept})
    if kept:
        console.line(f"kept         {kept}")
    return _summary(verdicts, console)


def _made_by(store: Store, run: str) -> list[str]:
    from pipelines.commands.status import checked_run
    from pipelines.runs import read_run
    from registry.errors import NotFound

    _, end = read_run(store, checked_run(run))
    if end is None or not end.made:
        raise NotFound(f"{run} made nothing that is known", "", f"`penstock status {run}`.")
    return end.made


def _made_here(store: Store, console: Console) -> list[str]:
    """The keys of all artifacts that a job made; imported ones are named and left out."""
    from pipelines.reproduce import spec_of
    from registry.artifacts.catalog import Catalog, title
    from registry.errors import Refused

    keys = []
    for manifest in Catalog(store).everything().values():
        try:
            spec_of(store, manifest)
        except Refused as error:
            console.line(f"left out     {title(manifest):<38} {error.why}", "dim")
        else:
            keys.append(manifest.key)
    return keys


def _scratch(settings: Settings) -> Path:
    parent = Path(settings.var).absolute() / "scratch"
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=parent))


def open_runner(settings: Settings) -> Runner:
    """The runner of this machine, for jobs on a scratch store."""
    from pipelines.reproduce import scratch_command
    from pipelines.runners.local import LocalRunner

    return LocalRunner.of(settings, scratch_command)


def _reproduced(
    settings: Settings, store: Store, keys: list[str], folder: Path, console: Console
) -> list[Verdict]:
    """Make all of them again, as many at once as the runner has room for; told in order."""
    from pipelines.dispatch import Policy
    from pipelines.reproduce import reproduce
    from pipelines.runs import new_run_id
    from registry.names import find_artifact

    policy = Policy(settings.job_timeout, settings.retries)
    runner, run, verdicts = open_runner(settings), new_run_id(), []

    def again(key: str) -> Verdict:
        reference, _ = find_artifact(store, key)
        return reproduce(store, reference, folder / reference.key[:16], runner, policy, run)

    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        for verdict in pool.map(again, keys):
            verdicts.append(verdict)
            _tell(verdict, console)
            console.progress("reproduced", len(verdicts), len(keys))
    finally:
        runner.close()
        pool.shutdown(cancel_futures=True)
    return verdicts


def _tell(verdict: Verdict, console: Console) -> None:
    word = "equal" if verdict.equal else "DIFFERENT"
    style = "" if verdict.equal else "red"
    console.line(f"{word:<12} {verdict.step:<38} {verdict.key[:16]}", style)
    for file in verdict.files:
        console.line(f"{'':<12} {file.path}: {file.where}")
    if not verdict.equal:
        changes = verdict.environment or ["nothing known differs in code and libraries"]
        for change in changes:
            console.line(f"{'since then':<12} {change}")


def _summary(verdicts: list[Verdict], console: Console) -> int:
    different = [verdict for verdict in verdicts if not verdict.equal]
    # What made no difference is told once: it is the same for most.
    changes = [change for v in verdicts if v.equal for change in v.environment]
    for change in dict.fromkeys(changes):
        console.line(f"{'equal despite':<12} {change}")
    if len(verdicts) != 1:
        console.line(f"{len(verdicts) - len(different)} equal, {len(different)} different")
    if different:
        key = different[0].key[:16]
        console.next(f"penstock reproduce {key} --keep", "look at both: the scratch store stays")
        return DIFFERENT
    console.next("penstock models", "what is live, since when, by whom")
    return 0
