"""What `main` makes of whatever a command raises; the parser; and what listing imports."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from penstock import commandline
from penstock.main import main
from registry.command import Console, Subparsers, add_command
from registry.errors import Temporary

HEAVY = ("catboost", "lightgbm", "luigi", "matplotlib", "numpy", "obstore", "pandas", "pyarrow")


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the command of this module: it raises what its argument says."""
    parser = add_command(subparsers, "fail", "Fail.", example="penstock fail KeyError")
    parser.add_argument("how")
    return parser


def run(args: argparse.Namespace, console: Console) -> int:
    """Fail."""
    if args.how == "Temporary":
        raise Temporary("the sea is rough", "wind", "Wait.")
    if args.how == "PermissionError":
        raise PermissionError(13, "Permission denied", "/etc/shadow")
    if args.how == "KeyboardInterrupt":
        raise KeyboardInterrupt
    raise KeyError(args.how)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    row = EntryPoint("fail", __name__, commandline.GROUP)
    monkeypatch.setattr(commandline, "commands", lambda: {"fail": row})


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("Temporary", 75, "penstock: temporary: the sea is rough\n  why: wind\n  do:  Wait.\n"),
        ("PermissionError", 73, "/etc/shadow"),
        ("KeyboardInterrupt", 130, "interrupted\n"),
        ("surprise", 70, "--debug"),
    ],
)
def test_what_is_raised_becomes_a_message(how, code, said, capsys):
    assert main(["fail", how]) == code
    out, err = capsys.readouterr()
    assert said in err
    assert "Traceback" not in err
    assert out == ""


@pytest.mark.usefixtures("failing")
def test_the_traceback_is_for_those_who_ask(capsys, monkeypatch):
    assert main(["fail", "surprise", "--debug"]) == 70
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setenv("PENSTOCK_LOG_LEVEL", "debug")
    assert main(["fail", "surprise"]) == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.usefixtures("failing")
def test_an_error_is_json_too(capsys):
    assert main(["--json", "fail", "Temporary"]) == 75
    error = json.loads(capsys.readouterr().out)["error"]
    assert error == {
        "kind": "temporary", "what": "the sea is rough", "why": "wind", "todo": "Wait.",
        "exit_code": 75,
    }  # fmt: skip


def test_a_command_that_cannot_be_imported(monkeypatch, capsys):
    row = EntryPoint("gone", "registry.gone", commandline.GROUP)
    monkeypatch.setattr(commandline, "commands", lambda: {"gone": row})
    assert main(["gone"]) == 78
    assert "registry.gone" in capsys.readouterr().err
    assert main(["--help"]) == 0
    assert "gone" in capsys.readouterr().out


@pytest.mark.usefixtures("failing")
def test_flags_may_stand_on_either_side():
    before = commandline.parse(["--store", "s", "--environment", "staging", "fail", "x"])
    after = commandline.parse(["fail", "--store", "s", "x", "--environment", "staging"])
    assert before.args.flags == after.args.flags == {
        "store": "s", "environment": "staging", "log_level": None,
    }  # fmt: skip
    last = commandline.parse(["--store", "a", "fail", "x", "--store", "b"])
    assert last.args.flags["store"] == "b"


def test_without_words_the_help_is_shown(capsys):
    assert main([]) == 0
    assert "penstock doctor" in capsys.readouterr().out


@pytest.mark.parametrize("name", commandline.commands())
def test_the_help_of_every_command_has_an_example(name, capsys):
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"\nexamples:\n  penstock {name}" in text
    assert commandline.summary(commandline.commands()[name])


def imported_by(words: list[str], folder: Path) -> set[str]:
    """The heavy libraries that a call of `main` brings in."""
    program = (
        "import sys; from penstock.main import main\n"
        f"code = main({words!r})\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("words", [["--help"], ["models"], ["promote", "--help"]], ids=" ".join)
def test_commands_import_what_they_need_only(words, tmp_path):
    assert imported_by(words, tmp_path) == set()


def test_the_pipeline_stays_small(tmp_path):
    words = ["plan", "flights", "--date", "2013-01-04"]
    assert imported_by(words, tmp_path) == {"luigi"}
    assert imported_by(["status"], tmp_path) == {"luigi"}


def test_the_console_script_is_installed():
    script = Path(sys.executable).with_name("penstock")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("penstock ")
