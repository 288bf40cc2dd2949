"""`penstock load` on a service of its own."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
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
        slow = imported.call("load", url, "churn", "--seconds", "1", "--p99", "0")
        assert slow.code == 64
        nobody = imported.call("load", url, "nobody")
        assert nobody.code == 66


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        ("load https://example.com flights", 64, "plain HTTP"),
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
    _judge(report, 80.0, 80)
    with pytest.raises(Refused, match="99th percentile is 80"):
        _judge(report, 80.0, 50)
