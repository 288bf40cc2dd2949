"""The console command `penstock`: the one place where errors become messages and exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from penstock.commandline import Call, parse
from penstock.console import StandardConsole
from registry.command import settings_of
from registry.errors import ConfigError, PenstockError, StoreError, StoreUnwritable
from registry.reports import reports

INTERRUPTED = 130  # 128 + SIGINT, as shells count
PIPE_CLOSED = 141  # 128 + SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (or the process's arguments) names; return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    console = StandardConsole(json="--json" in words)
    try:
        code = _run(words, console)
        console.flush()
    except KeyboardInterrupt:
        console.note("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        return _silenced()
    except Exception as error:  # noqa: BLE001 - the last stop: everything becomes a message
        return _failed(error, words, console)
    return code


def _run(words: list[str], console: StandardConsole) -> int:
    try:
        call = parse(words)
    except SystemExit as answered:  # argparse has printed help or the version
        return int(answered.code or 0)
    console.json = bool(call.args.json)
    return _called(call, console)


def _called(call: Call, console: StandardConsole) -> int:
    if call.command is None:
        console.line(call.help.rstrip())
        return 0
    _configure_logs(call)
    return call.command.run(call.args, console)


def _configure_logs(call: Call) -> None:
    """Log lines go to stderr: plain for a person, JSON where nobody watches. Errors go to Sentry."""
    from registry.logs import configure
    from registry.sentry import report_errors

    level = "warning"
    try:
        settings = settings_of(call.args)
        level = settings.log_level
        report_errors(settings)
    except ConfigError:  # the command will meet it too, and tell
        pass
    configure(level, json=not sys.stderr.isatty())


def _failed(error: Exception, words: Sequence[str], console: StandardConsole) -> int:
    told = _told(error)
    try:
        if _debugging(words):
            traceback.print_exception(error)
        console.failure(told)
        console.flush()
    except OSError:  # stdout is gone or full: there is nobody left to tell
        _silenced()
    return told.exit_code


def _told(error: Exception) -> PenstockError:
    """`error` as something with what, why and what to do."""
    if isinstance(error, PenstockError):
        return error
    if isinstance(error, OSError) and error.strerror:
        return _of_file(error)
    reports.report("a command failed", error, level="fatal")
    return PenstockError(
        f"{type(error).__name__}: {error}",
        "nobody foresaw this: it is a defect of penstock",
        "Run it again with --debug, and report the traceback.",
    )


def _of_file(error: OSError) -> PenstockError:
    where = str(error.filename or "the output")
    if isinstance(error, PermissionError):
        return StoreUnwritable(f"no access to {where}", error.strerror or "", "Check the rights.")
    return StoreError(
        f"{where} cannot be read or written", error.strerror or "", "Check the path and the disk."
    )


def _debugging(words: Sequence[str]) -> bool:
    return "--debug" in words or os.environ.get("PENSTOCK_LOG_LEVEL", "").lower() == "debug"


def _silenced() -> int:
    """Let the interpreter's own flush at exit go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    return PIPE_CLOSED
