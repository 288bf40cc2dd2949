"""The seam of the command line: what a subcommand offers, and what it may use to speak.

A subcommand is a module named by a row in the entry-point group `penstock.commands`. The first
line of its docstring is its summary, which is read from the source, so that listing commands
imports none of them. Its top stays light all the same: what it works with is imported in `run`.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from registry.settings import Settings

#: What `ArgumentParser.add_subparsers` returns; the class has no public name.
Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001


class Console(Protocol):
    """How a command speaks. With `json` only `result` writes to stdout; the rest is silent."""

    json: bool

    def line(self, text: str = "", style: str = "") -> None:
        """Write one line for a person to stdout; `style` is bold, dim, red, yellow or green."""

    def table(self, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Write aligned columns to stdout."""

    def result(self, document: object) -> None:
        """With `json`, write the command's one JSON document to stdout."""

    def note(self, text: str) -> None:
        """Write one line to stderr: what a person should know, and a script does not read."""

    def progress(self, label: str, done: int, total: int) -> None:
        """Show how far it is, on a terminal only."""

    @property
    def live(self) -> bool:
        """Whether stdout is a terminal, where `frame` can draw over what it drew before."""
        ...

    def frame(self, lines: Sequence[tuple[str, str]]) -> None:
        """Show lines (text, style) in place of those of the last frame; only if `live`."""

    def next(self, command: str, purpose: str) -> None:
        """End by naming the next useful command, and what it is for."""


class Command(Protocol):
    """A module that is a subcommand."""

    def add_parser(self, subparsers: Subparsers) -> argparse.ArgumentParser:
        """Add the command's parser, by `add_command`, and return it."""

    def run(self, args: argparse.Namespace, console: Console) -> int:
        """Do it and return the exit code. Raises PenstockError for what a person can mend."""


def add_command(
    subparsers: Subparsers, name: str, doc: str | None, *, example: str, about: str = ""
) -> argparse.ArgumentParser:
    """A parser for the command `name`, whose help ends with examples (one command a line).

    Args:
        doc: the module's docstring; its first line is the summary.
        about: what the command does at more length; default: the summary.
    """
    lines = "\n".join(f"  {line.strip()}" for line in example.strip().splitlines())
    return subparsers.add_parser(
        name,
        help=summary_of(doc),
        description=textwrap.fill(about or f"{summary_of(doc)}.", 78),
        epilog=f"examples:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def summary_of(doc: str | None) -> str:
    """The first line of a docstring, without the full stop."""
    return (doc or "").strip().partition("\n")[0].rstrip(".")


def settings_of(args: argparse.Namespace, **more: Any) -> Settings:
    """The settings for this call: its flags (and `more`) over the environment over the defaults.

    Raises:
        ConfigError: a value cannot be used.
    """
    from registry.settings import Settings

    return Settings.load(**args.flags, **more)


def natural(text: str) -> int:
    """The converter of an argument that must be 1, 2, 3, …

    Raises:
        argparse.ArgumentTypeError: it is anything else.
    """
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return int(text)
