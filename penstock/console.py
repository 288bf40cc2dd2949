"""What commands write: lines and tables for a person, or one JSON document for a script."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from registry.errors import PenstockError

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
#: Seconds between two updates of the progress line.
_TICK = 0.1


class StandardConsole:
    """A `registry.command.Console` on stdout and stderr."""

    def __init__(
        self,
        *,
        json: bool = False,
        out: TextIO | None = None,
        err: TextIO | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.json = json
        self._out = _lenient(out or sys.stdout)
        self._err = _lenient(err or sys.stderr)
        self._env = os.environ if env is None else env
        self._drawn = 0.0
        self._drawing = False
        self._frame = 0

    def line(self, text: str = "", style: str = "") -> None:
        """Write one line to stdout, unless the output is JSON."""
        if not self.json:
            self._wipe()
            self._out.write(f"{self._styled(self._out, printable(text), style)}\n")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Write aligned columns to stdout; numbers are aligned to the right."""
        cells = [[_cell(value) for value in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
        right = [_is_numeric(column) for column in zip(*rows, strict=True)] or [False] * len(header)
        self.line(_aligned(header, widths, right), "bold")
        for row in cells:
            self.line(_aligned(row, widths, right))

    def result(self, document: object) -> None:
        """Write the command's one JSON document to stdout, if it was asked for."""
        if self.json:
            self._out.write(json.dumps(document, indent=2, default=_builtin) + "\n")

    def note(self, text: str) -> None:
        """Write one line to stderr."""
        self._wipe()
        self._err.write(f"{printable(text)}\n")

    def progress(self, label: str, done: int, total: int) -> None:
        """Draw the progress line on a terminal; the line after it overwrites it."""
        now = time.monotonic()
        often = self._drawing and done < total and now - self._drawn < _TICK
        if often or not self._is_terminal(self._err):
            return
        share = f"{done:,} of {total:,}" if total else f"{done:,}"
        width = shutil.get_terminal_size().columns - 1
        self._err.write(f"\r\x1b[K{printable(f'{label}: {share}')[:width]}")
        self._err.flush()
        self._drawn, self._drawing = now, True

    @property
    def live(self) -> bool:
        """Whether stdout is a terminal that a person looks at."""
        return not self.json and self._is_terminal(self._out)

    def frame(self, lines: Sequence[tuple[str, str]]) -> None:
        """Draw lines over those of the last frame, cut to what the terminal can show."""
        if not self.live:
            return
        columns, rows = shutil.get_terminal_size()
        shown = lines[: rows - 1]
        drawn = [self._styled(self._out, printable(t)[: columns - 1], s) for t, s in shown]
        back = f"\x1b[{self._frame}F" if self._frame else ""
        self._out.write(back + "\x1b[J" + "".join(f"{line}\n" for line in drawn))
        self._out.flush()
        self._frame = len(shown)

    def next(self, command: str, purpose: str) -> None:
        """Name the next useful command."""
        self.line()
        self.line(f"next: {command}", "bold")
        self.line(f"      {purpose}", "dim")

    def failure(self, error: PenstockError, command: str = "") -> None:
        """Tell what went wrong, why, and what to do; as JSON on stdout too if that is asked for."""
        self._wipe()
        head = f"{command or 'penstock'}: {error.kind}: {error.what}"
        self._err.write(self._styled(self._err, printable(head), "red") + "\n")
        for name, text in (("why", error.why), ("do", error.todo)):
            if text:
                self._err.write(printable(f"  {name + ':':<5}{text}") + "\n")
        self.result({"error": described(error)})

    def flush(self) -> None:
        """Hand over what was written, so that a full disk or a closed pipe shows now."""
        self._wipe()
        self._out.flush()
        self._err.flush()

    def _wipe(self) -> None:
        if self._drawing:
            self._err.write("\r\x1b[K")
            self._err.flush()
            self._drawing = False

    def _styled(self, stream: TextIO, text: str, style: str) -> str:
        plain = not style or self._env.get("NO_COLOR") or not self._is_terminal(stream)
        return text if plain else f"\x1b[{_STYLES[style]}m{text}\x1b[0m"

    def _is_terminal(self, stream: TextIO) -> bool:
        return stream.isatty() and self._env.get("TERM") != "dumb"


def described(error: PenstockError) -> dict[str, Any]:
    """An error as a JSON object."""
    return {
        "kind": error.kind,
        "what": error.what,
        "why": error.why,
        "todo": error.todo,
        "exit_code": error.exit_code,
    }


def printable(text: str) -> str:
    """`text` without control characters, which could rewrite what stands on a terminal."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def _aligned(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = [
        cell.rjust(width) if flush else cell.ljust(width)
        for cell, width, flush in zip(cells, widths, right, strict=True)
    ]
    return "  ".join(padded).rstrip()


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return printable(text).replace("\n", " ")


def _is_numeric(column: Sequence[object]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in column)


def _builtin(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    import msgspec  # what commands report are mostly the records of the store

    return msgspec.to_builtins(value)


def _lenient(stream: TextIO) -> TextIO:
    """`stream`, which shall not fail on a letter that its encoding lacks."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream
