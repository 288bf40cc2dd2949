"""Lines for a person, one document for a script, colours and progress on a terminal only."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

from penstock.console import StandardConsole


class Terminal(io.StringIO):
    """A stream that says that somebody watches."""

    def isatty(self) -> bool:
        return True


def console(
    stream: type[io.StringIO] = io.StringIO,
    env: Mapping[str, str] | None = None,
    json: bool = False,
):
    return StandardConsole(json=json, out=stream(), err=stream(), env=env or {})


def test_columns_are_aligned():
    made = console()
    made.table(["name", "rows"], [["a", 5], ["longer", 12345], [None, 0]])
    assert made._out.getvalue() == "name     rows\na           5\nlonger  12345\n-           0\n"


def test_an_empty_table_is_its_header():
    made = console()
    made.table(["name", "rows"], [])
    assert made._out.getvalue() == "name  rows\n"


def test_colours_are_for_terminals():
    for stream, env, coloured in [
        (Terminal, {}, True),
        (Terminal, {"NO_COLOR": "1"}, False),
        (Terminal, {"TERM": "dumb"}, False),
        (io.StringIO, {}, False),
    ]:
        made = console(stream, env)
        made.line("text", "red")
        assert (made._out.getvalue() == "\x1b[31mtext\x1b[0m\n") is coloured


def test_what_comes_from_the_store_cannot_steer_the_terminal():
    made = console(Terminal)
    made.line("a\x1b[2Jb\r")
    made.table(["why"], [["c\x1b]0;d\x07\ne"]])
    assert "\x1b[2J" not in made._out.getvalue()
    assert "\x1b]" not in made._out.getvalue()


def test_json_is_one_document_and_nothing_else():
    made = console(json=True)
    made.line("text")
    made.table(["a"], [[1]])
    made.next("penstock models", "see")
    made.result({"path": Path("a/b"), "text": "é"})
    assert json.loads(made._out.getvalue()) == {"path": "a/b", "text": "é"}


def test_without_json_there_is_no_document():
    made = console()
    made.result({"a": 1})
    assert made._out.getvalue() == ""


def test_progress_is_for_terminals_and_gives_way():
    made = console(Terminal)
    made.progress("rows", 5, 10)
    made.line("done")
    assert "rows: 5 of 10" in made._err.getvalue()
    assert made._err.getvalue().endswith("\r\x1b[K")
    silent = console()
    silent.progress("rows", 5, 10)
    assert silent._err.getvalue() == ""


def test_a_letter_that_the_terminal_lacks_is_no_error():
    raw = io.BytesIO()
    made = StandardConsole(out=io.TextIOWrapper(raw, encoding="ascii"))
    made.line("wait…")
    made.flush()
    assert raw.getvalue() == b"wait\\u2026\n"


def test_a_frame_is_drawn_over_the_last_one_and_off_a_terminal_not_at_all() -> None:
    out = Terminal()
    console = StandardConsole(out=out, env={})
    assert console.live
    console.frame([("one", "bold"), ("two \x1b[2J", "")])
    console.frame([("three" * 100, "")])
    first, second = out.getvalue().split("\x1b[2F")
    assert first == "\x1b[J\x1b[1mone\x1b[0m\ntwo \ufffd[2J\n"
    assert second.startswith("\x1b[Jthreethree")
    assert len(second) < 200
    for quiet in (StandardConsole(out=io.StringIO(), env={}), StandardConsole(out=out, json=True)):
        quiet.frame([("nothing", "")])
        assert not quiet.live
    assert "nothing" not in out.getvalue()
