"""`penstock load` on a service of its own."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator

import pytest

from tests.penstock.conftest import Imported, Place


@contextlib.contextmanager
def serving(imported: Imported) -> Iterator[str]:
    """The URL of a service that is ready."""
    command = [sys.executable, "-m", "penstock", "serve", "churn", "--port", "0"]
    with subprocess.Popen(
        command, cwd=imported.folder, env=imported.environ, text=True, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            ready = process.stdout.readline()
            assert ready.startswith("ready: "), ready
            yield ready.split()[1].rstrip("/")
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


def test_a_service_under_load(imported: Imported) -> None:
    rows = imported.folder / "rows.json"
    rows.write_text(json.dumps([{"hour": 3, "temp": 0.1, "origin": "JFK"}] * 2))
    with serving(imported) as url:
        done = imported.ok("load", url, "churn", "--seconds", "1", "--rows", rows)
        assert "answered, 0 failed" in done.out
        words = ("load", url, "churn", "--seconds", "1", "--connections", "2", "--json")
        assert imported.ok(*words).document["answered"] > 0
        rows.write_text(json.dumps([{"hour": 3}]))
        wrong = imported.call("load", url, "churn", "--seconds", "1", "--rows", rows)
        assert wrong.code == 77
        assert "requests failed" in wrong.err
        assert "400" in wrong.err
        few = imported.call("load", url, "churn", "--seconds", "1", "--rate", "10000000")
        assert few.code == 77
        assert "answers a second, at least 10000000" in few.err
        slow = imported.call("load", url, "churn", "--seconds", "1", "--p99", "0")
        assert slow.code == 64
        nobody = imported.call("load", url, "nobody")
        assert nobody.code == 66


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        ("load ftp://example.com flights", 64, "ftp"),
        ("load here flights", 64, "'here'"),
        ("load http://127.0.0.1:9 flights", 75, "does not answer"),
        ("load http://127.0.0.1:9 flights --rows gone.json", 66, "gone.json"),
    ],
)
def test_words_that_are_off(place: Place, words: str, code: int, named: str) -> None:
    done = place.call(*words.split())
    assert done.code == code, done.err
    assert named in done.err


@pytest.mark.parametrize("text", ["", "{}", "[]", "[1]"])
def test_rows_of_another_form(place: Place, text: str) -> None:
    (place.folder / "rows.json").write_text(text)
    assert place.call("load", "http://127.0.0.1:9", "flights", "--rows", "rows.json").code == 64


def test_the_slowest_are_judged() -> None:
    from registry.errors import Refused
    from serving.commands.load import _judge
    from serving.loadclient import Note, Report

    report = Report([Note(0, 0, 200, "v", 1, "{}", 0.08)])
    summary = {"p50_ms": 60.0, "p99_ms": 80.0, "rate": 12.5}
    _judge(report, summary, Namespace(p50=60, p99=80, rate=12))
    _judge(report, summary, Namespace(p50=None, p99=None, rate=None))
    with pytest.raises(Refused, match=r"p99 is 80.0 ms, at most 50 .*; 12.5 answers") as refused:
        _judge(report, summary, Namespace(p50=60, p99=50, rate=13))
    assert "p50" not in str(refused.value)
