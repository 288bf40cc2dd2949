"""Show every setting and where it comes from; check that all works."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

from registry.command import Console, Subparsers, add_command, settings_of

if TYPE_CHECKING:
    from registry.checks import Check
    from registry.settings import Setting, Settings

_USERINFO = re.compile(r"://[^/@]+@")
_STYLES = {"ok": "", "warn": "yellow", "fail": "red"}


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add `doctor`."""
    return add_command(
        subparsers, "doctor", __doc__,
        example="penstock doctor\npenstock doctor --store s3://models/team --json",
        about="Show every setting with its origin, then check the store, the aliases, the libraries "
        "and this machine. Exit code 0 unless a check fails; then that of the first failure.",
    )  # fmt: skip


def run(args: argparse.Namespace, console: Console) -> int:
    """Check everything, tell, and return 0 or the exit code of the first failure."""
    from penstock.checks import examine
    from registry.checks import failed
    from registry.errors import ConfigError

    settings: Settings | None = None
    try:
        settings = settings_of(args)
        checks = examine(settings)
    except ConfigError as error:
        checks = [failed("settings", error)]
    console.result({"settings": _rows(settings), "checks": [vars(check) for check in checks]})
    _tell_settings(settings, console)
    for check in checks:
        _tell(check, console)
    _next(checks, console)
    return next((check.exit_code for check in checks if check.status == "fail"), 0)


def _rows(settings: Settings | None) -> list[dict[str, Any]]:
    from registry.settings import TABLE

    return [
        {
            "name": row.name,
            "variable": row.variable,
            "value": _shown(row, settings.values[row.name]),
            "origin": settings.origin(row.name),
        }
        for row in TABLE
        if settings
    ]


def _shown(row: Setting, value: Any) -> Any:
    """`value` without secrets."""
    if value is None or isinstance(value, bool | int | float):
        return value
    return "********" if row.secret else _USERINFO.sub("://********@", str(value))


def _tell_settings(settings: Settings | None, console: Console) -> None:
    if settings:
        rows = [(row["variable"], row["value"], row["origin"]) for row in _rows(settings)]
        console.table(
            ["setting", "value", "from"],
            [[name, value, origin.partition(" ")[0]] for name, value, origin in rows],
        )
        console.line()


def _tell(check: Check, console: Console) -> None:
    console.line(f"{check.status:<5} {check.name:<10} {check.found}", _STYLES[check.status])
    if check.hint:
        console.line(f"{'':<16} {check.hint}", "dim")


def _next(checks: list[Check], console: Console) -> None:
    if any(check.status == "fail" for check in checks):
        console.next("penstock doctor", "again, once the failures above are mended")
    else:
        console.next("penstock plan flights --date 2013-02-10", "what a run would do")
