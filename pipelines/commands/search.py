"""Search better hyperparameters on the days before a date."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.commands.words import a_date
from registry.command import Console, Subparsers, add_command, natural, settings_of
from registry.errors import UsageError

if TYPE_CHECKING:
    from pipelines.publish import Publish
    from pipelines.search import Search
    from pipelines.session import Session

_WORD = re.compile(r"([a-z][a-z0-9_]*)\.(\w+)=(.+)", re.DOTALL)
_RANGE = re.compile(r"(log:)?(\S+?)\.\.(\S+)")
_SHOWN = 10


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `search`."""
    parser = add_command(
        subparsers,
        "search",
        __doc__,
        example="penstock search flights --date 2013-02-10 --set lightgbm.num_leaves=7,15,31\n"
        "penstock search flights --date 2013-02-10 --set lightgbm.num_leaves=7..63 "
        "--set lightgbm.learning_rate=log:0.01..0.2 --random 12 --seed 1 --days 3\n"
        "penstock search flights --date 2013-02-10 --set lightgbm.num_leaves=7..63 "
        "--random 63 --halving 4 --publish\n"
        "penstock search flights --date 2013-02-10 --space space.json --publish",
        about="Search better hyperparameters on the days before a date: a grid of values, or trials "
        "drawn from values and ranges. Each trial is trained and evaluated as of those days, so "
        "that the date itself has no part in the choice. By halving, all are trained for a few "
        "boosting rounds, and the best go on to more. Ends with a table and a page.",
    )
    parser.add_argument("usecase", metavar="USECASE", help="a folder below usecases/, e.g. flights")
    parser.add_argument(
        "--date", required=True, type=a_date, metavar="YYYY-MM-DD", help="the logical date"
    )
    parser.add_argument("--horizon", default="", help="one that the use case declares; its own")
    parser.add_argument(
        "--set", action="append", default=[], metavar="ALGORITHM.NAME=VALUES",
        help="values to try: 7,15,31, a range 0.1..0.9, or log:0.01..0.2; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--space", type=Path, metavar="FILE",
        help='the same as JSON: {"lightgbm": {"num_leaves": [7, 15]}}; a range is {"low", "high", "log"}',
    )  # fmt: skip
    parser.add_argument(
        "--random", type=natural, metavar="N", help="draw N trials; without it, the whole grid"
    )
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default: 0)")
    parser.add_argument(
        "--days", type=natural, default=1, help="days that each trial is evaluated on (default: 1)"
    )
    parser.add_argument(
        "--halving", type=natural, nargs="?", const=3, metavar="ETA",
        help="the best 1/ETA of a rung go on, to ETA times the rounds (3 where no number is given)",
    )  # fmt: skip
    parser.add_argument(
        "--rungs", type=natural, metavar="N",
        help="of a halving; without it, so many that the first has 1/32 of the rounds or more",
    )  # fmt: skip
    parser.add_argument(
        "--publish", action="store_true",
        help="then train with the best, evaluate on the date, and let the gate decide",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="show the plan, do nothing")
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Plan, run what is missing, and tell what was found."""
    from pipelines.commands.interrupt import run_interruptibly
    from pipelines.commands.plan import summary_line
    from pipelines.commands.watcher import Watcher
    from pipelines.plan import plan
    from pipelines.session import Session

    searches, publish = _roots(args)
    roots = [publish] if args.publish else searches
    session = Session(settings_of(args), asked=_asked(args))
    steps = plan(session, roots)
    missing = sum(step.action != "reuse" for step in steps)
    console.line(f"{sum(len(task.trials()) for task in searches)} trials: {summary_line(steps)}")
    for task in searches:
        _tell_rungs(task, console)
    if args.dry_run:
        console.result({"run": None, "steps": steps})
        return 0
    if missing:
        session.observer = Watcher(console, missing, brief=True)
    result = run_interruptibly(session, roots, console, "the same `penstock search …`")
    console.result(
        {"run": result.run, "searches": [_tell(session, task, console) for task in searches]}
    )
    if args.publish:
        _tell_verdict(session, publish, console)
    return 0


def _roots(args: argparse.Namespace) -> tuple[list[Search], Publish]:
    """A search for each algorithm that is named, and the verdict that comes after them."""
    from pipelines.publish import Publish
    from pipelines.search import Search
    from registry.usecase import load_usecase

    load_usecase(args.usecase).at(args.horizon)
    about: dict[str, Any] = {"usecase": args.usecase, "date": args.date, "horizon": args.horizon}
    more = {"random": args.random or 0, "seed": args.seed, "days": args.days, **_halving(args)}
    plans = {name: {"space": values, **more} for name, values in _space(args).items()}
    searches = [
        Search(**{**about, "algorithm": name, "plan": plan}) for name, plan in plans.items()
    ]
    return searches, Publish(**about, searches=plans)


def _halving(args: argparse.Namespace) -> dict[str, Any]:
    """What the plan of a search says of halving; nothing where it is not asked for."""
    if args.halving is None:
        if args.rungs is not None:
            raise UsageError("--rungs are those of a halving", "", "Add --halving.")
        return {}
    return {"halving": {"eta": args.halving, **({"rungs": args.rungs} if args.rungs else {})}}


def _tell_rungs(task: Search, console: Console) -> None:
    """Tell how many trials each rung will have, and what that saves."""
    from pipelines.halving import shares, work_share
    from registry.halving import sizes

    halving = task.halving
    if halving is None:
        return
    counts = sizes(len(task.trials()), halving.eta, halving.rungs)
    rungs = zip(counts, shares(halving), strict=True)
    told = ", ".join(f"{count} at {share}" for count, share in rungs)
    spent = 100 * work_share(counts, halving)
    console.line(
        f"{task.algorithm}: {told} of the rounds, {spent:.0f} % of all; who goes on is decided on "
        "the way"
    )


def _space(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Algorithm → hyperparameter → values, from the file and then the words."""
    space: dict[str, dict[str, Any]] = _read(args.space) if args.space else {}
    for word in args.set:
        match = _WORD.fullmatch(word)
        if match is None:
            raise UsageError(
                f"--set {word!r} cannot be read", "", "Write it as lightgbm.num_leaves=7,15,31."
            )
        algorithm, name, text = match.groups()
        space.setdefault(algorithm, {})[name] = values_of(text)
    if not space:
        raise UsageError("nothing is to be searched", "", "Give --set or --space.")
    return space


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        space = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read", str(error), "It is a file of JSON.") from None
    if not isinstance(space, dict) or not all(isinstance(each, dict) for each in space.values()):
        raise UsageError(
            f"{path} is no space", "", 'Write {"lightgbm": {"num_leaves": [7, 15, 31]}}.'
        )
    return space


def values_of(text: str) -> Any:
    """`7,15,31` as a list, `0.1..0.9` and `log:0.01..0.2` as ranges; values are JSON or text."""
    if found := _RANGE.fullmatch(text):
        log, low, high = found.groups()
        return {"low": _value(low), "high": _value(high), **({"log": True} if log else {})}
    return [_value(part) for part in text.split(",")]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _asked(args: argparse.Namespace) -> dict[str, Any]:
    words = ("usecase", "horizon", "set", "random", "seed", "days", "halving", "rungs", "publish")
    asked = {word: getattr(args, word) for word in words}
    return {"command": "search", "date": str(args.date), **asked}


def _tell(session: Session, task: Search, console: Console) -> dict[str, Any]:
    """Tell one search; the same for a script."""
    from pipelines.commands.outcome import file_of
    from pipelines.session import using

    with using(session):
        manifest = session.index.manifest_of(task.recipe)
        rows = sorted(_rows(session, task), key=lambda row: (row["log_loss"], row["trial"]))
    report = file_of(session.store, manifest, ".html")
    console.table(["trial", "log loss", "AUC"], [_shown(row) for row in rows[:_SHOWN]])
    console.line(f"report       {report}")
    console.line(f"table        penstock.artifact({manifest.key[:16]!r}).table('trials')")
    return {"key": manifest.key, "report": report, "trials": rows}


def _rows(session: Session, task: Search) -> list[dict[str, Any]]:
    """Means over the days of what the evaluations of each trial measured, on the last rung."""
    found, trials, evaluations = [], task.trials(), task.evaluations()
    for trial, days in ((trials[n], evaluations[n]) for n in task.members(task.rungs - 1)):
        metrics = [session.index.manifest_of(each.recipe).metrics for each in days]
        means = {
            name: sum(each[name] for each in metrics) / len(metrics) for name in ("log_loss", "auc")
        }
        found.append({"trial": trial, **means})
        found[-1]["trial"] = ", ".join(f"{k}={v}" for k, v in trial.items()) or "as set"
    return found


def _shown(row: dict[str, Any]) -> list[object]:
    return [row["trial"], f"{row['log_loss']:.4f}", f"{row['auc']:.4f}"]


def _tell_verdict(session: Session, publish: Publish, console: Console) -> None:
    from pipelines.publish import outcome
    from pipelines.session import using

    with using(session):
        decision = publish.verdict()
    if decision:
        console.line(f"verdict      {outcome(decision)}")
        console.next(f"penstock models history {publish.model}@champion", "every decision, and why")
