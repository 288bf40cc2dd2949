"""What `plan` and `run` are told: a use case, a logical date, and changed hyperparameters."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from registry.errors import UsageError

if TYPE_CHECKING:
    from pipelines.predict import Predict

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_CHANGE = re.compile(r"([a-z][a-z0-9_]*)\.(\w+)=(.+)", re.DOTALL)


def add_words(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which steps are wanted."""
    parser.add_argument("usecase", metavar="USECASE", help="a folder below usecases/, e.g. flights")
    parser.add_argument(
        "--date", required=True, type=a_date, metavar="YYYY-MM-DD", help="the logical date"
    )
    add_changes(parser)


def add_changes(parser: argparse.ArgumentParser) -> None:
    """Add `--set`."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="ALGORITHM.NAME=VALUE",
        help="another hyperparameter for this run; repeatable",
    )


def root_of(args: argparse.Namespace) -> Predict:
    """The step that everything wanted hangs on. Raises UsageError for an unknown use case."""
    from pipelines.run import root_task
    from registry.usecase import load_usecase

    load_usecase(args.usecase)
    return root_task(args.usecase, args.date, changes_of(args.set))


def a_date(text: str) -> dt.date:
    """The day that `text` names. Raises argparse.ArgumentTypeError."""
    try:
        if _DATE.fullmatch(text):
            return dt.date.fromisoformat(text)
    except ValueError:
        pass  # 2013-02-30 has the form of a date and is none
    raise argparse.ArgumentTypeError(f"{text!r} is not a date such as 2013-02-10")


def changes_of(words: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`["lightgbm.num_leaves=15"]` as {"lightgbm": {"num_leaves": 15}}; values are JSON or text.

    Raises:
        UsageError: a word has another form.
    """
    changes: dict[str, dict[str, Any]] = {}
    for word in words:
        match = _CHANGE.fullmatch(word)
        if match is None:
            raise UsageError(
                f"--set {word!r} cannot be read", "", "Write it as lightgbm.num_leaves=15."
            )
        algorithm, name, value = match.groups()
        changes.setdefault(algorithm, {})[name] = _value(value)
    return changes


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def asked_of(args: argparse.Namespace) -> dict[str, Any]:
    """What was asked for, as the run record keeps it."""
    return {
        "usecase": args.usecase,
        "date": args.date.isoformat(),
        "changes": changes_of(args.set),
    }


def spelled(args: argparse.Namespace) -> str:
    """The words again, for the next command."""
    changes = "".join(f" --set {word}" for word in args.set)
    return f"{args.usecase} --date {args.date}{changes}"


def respelled(asked: Mapping[str, Any]) -> str:
    """The command that a run record was asked for by, to be typed again."""
    changes = "".join(
        f" --set {algorithm}.{name}={json.dumps(value)}"
        for algorithm, changed in (asked.get("changes") or {}).items()
        for name, value in changed.items()
    )
    usecase, date = asked.get("usecase"), str(asked.get("date"))
    if asked.get("command") == "search":
        return f"penstock search {usecase} --date {date}{_tried(asked)}"
    if asked.get("command") != "backfill":
        return f"penstock run {usecase} --date {date}{changes}"
    first, _, last = date.partition("..")
    order = " --order newest" if asked.get("order") == "newest" else ""
    return f"penstock backfill {usecase} --from {first} --to {last}{order}{changes}"


def _tried(asked: Mapping[str, Any]) -> str:
    """What a search was asked for besides its date; what was left out then is left out again."""
    words = [f"--set {shlex.quote(word)}" for word in asked.get("set") or ()]
    words += [
        f"--{name} {shlex.quote(str(asked[name]))}"
        for name in ("horizon", "random", "seed", "days", "halving", "rungs")
        if asked.get(name) not in (None, "")
    ]
    words += ["--publish"] if asked.get("publish") else []
    return "".join(f" {word}" for word in words)
