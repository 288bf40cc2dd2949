"""The command line: global flags, and the subcommands that entry points name.

A command is imported when it is called, and none to list them.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn, cast

from registry.command import Command, summary_of
from registry.errors import ConfigError, UsageError

GROUP = "penstock.commands"
_ABOUT = """Scheduled training, batch scoring and online serving of models."""
_START = """start with:
  penstock doctor                              what is configured, and does it work
  penstock plan flights --date 2013-02-10      what a run would do
  penstock run flights --date 2013-02-10       do it
  penstock models                              what is live

Exit codes: 0 done, 64 usage, 65 bad data, 66 not found, 70 defect, 71 job out of memory,
73 store unwritable, 74 store or file error, 75 try again, 77 refused, 78 setting, 130 interrupted."""


@dataclass(frozen=True)
class Call:
    """A parsed command line; without a command there is nothing to do but show `help`."""

    args: argparse.Namespace
    command: Command | None
    help: str = ""


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError, and whose subcommands take the global flags too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)
        if " " in self.prog:  # a subcommand: what is not given there must not undo what came first
            _add_flags(self, argparse.SUPPRESS)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError; argparse would exit with 2."""
        raise UsageError(message, "", f"`{self.prog} --help` shows how it is used.")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write, and let a closed pipe or a full disk be heard; argparse would swallow it."""
        (file or sys.stderr).write(message)


def parse(argv: list[str]) -> Call:
    """Parse `argv` and import the command that it names.

    Raises:
        UsageError: the words do not make a command.
        ConfigError: the command is installed but cannot be imported.
        SystemExit: `--help` or `--version` was given and answered.
    """
    first, _ = _front().parse_known_args(argv)
    found = commands()
    if first.command is None or first.command not in found:
        return _without_command(argv, first, found)
    command = _load(found[first.command])
    parser, subparsers = _parser()
    command.add_parser(subparsers)
    args = parser.parse_args(argv)
    args.flags = _settings_flags(args)
    return Call(args, command)


def commands() -> dict[str, EntryPoint]:
    """The installed subcommands by name, sorted; nothing is imported."""
    return {row.name: row for row in sorted(entry_points(group=GROUP), key=lambda row: row.name)}


def summary(row: EntryPoint) -> str:
    """The first line of the command's docstring, read from its source without importing it."""
    package, _, rest = row.module.partition(".")
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        source = Path(folder, *rest.split(".")).with_suffix(".py")
        if source.is_file():
            return summary_of(ast.get_docstring(ast.parse(source.read_bytes())))
    return ""


def _without_command(
    argv: list[str], first: argparse.Namespace, found: dict[str, EntryPoint]
) -> Call:
    parser, subparsers = _parser()
    for name, row in found.items():
        subparsers.add_parser(name, help=summary(row))
    if first.command is None:
        args = parser.parse_args(argv)
        args.flags = _settings_flags(args)
        return Call(args, None, parser.format_help())
    near = difflib.get_close_matches(first.command, found, n=1)
    hint = f"Did you mean `penstock {near[0]}`? " if near else ""
    raise UsageError(
        f"there is no command {first.command!r}",
        f"known are: {', '.join(found)}",
        f"{hint}`penstock --help` says what each does.",
    )


def _front() -> argparse.ArgumentParser:
    """Finds the command's name among the global flags, and leaves the rest alone."""
    front = Parser(prog="penstock", add_help=False)
    front.add_argument("-h", "--help", action="store_true")
    front.add_argument("--version", action="store_true")
    _add_flags(front, None)
    front.add_argument("command", nargs="?")
    front.add_argument("rest", nargs=argparse.REMAINDER)
    return front


def _parser() -> tuple[argparse.ArgumentParser, argparse._SubParsersAction[Any]]:
    parser = Parser(
        prog="penstock",
        description=_ABOUT,
        epilog=_START,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"penstock {version('penstock')}")
    _add_flags(parser, None)
    subparsers = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", parser_class=Parser
    )
    return parser, subparsers


def _add_flags(parser: argparse.ArgumentParser, absent: Any) -> None:
    group = parser.add_argument_group("everywhere")
    group.add_argument(
        "--store", metavar="URL", default=absent, help="a folder or s3://… (PENSTOCK_STORE)"
    )
    group.add_argument(
        "--environment", metavar="NAME", default=absent,
        help="dev/<you>, staging, prod (PENSTOCK_ENVIRONMENT)",
    )  # fmt: skip
    group.add_argument(
        "--json", action="store_true", default=absent or False, help="one JSON document on stdout"
    )
    group.add_argument(
        "--debug", action="store_true", default=absent or False,
        help="log everything; tracebacks of defects",
    )  # fmt: skip


def _settings_flags(args: argparse.Namespace) -> dict[str, Any]:
    level = "debug" if args.debug else None
    return {"store": args.store, "environment": args.environment, "log_level": level}


def _load(row: EntryPoint) -> Command:
    try:
        return cast(Command, row.load())
    except ImportError as error:
        raise ConfigError(
            f"the command {row.name!r} cannot be used",
            f"{row.value} cannot be imported: {error}",
            "Install the project again (`make install`).",
        ) from error
