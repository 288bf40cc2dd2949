"""Errors of whole processes, sent by Sentry's own library to a server that keeps them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from registry.artifacts.provenance import running_code
from tests.sentry import KEY, sentry

SECRET = "canary-of-sentry-0123456789"
#: A process that fails with a secret in its hands, its message and its fields.
FAILING = """
from registry.logs import configure, get_logger
from registry.sentry import report_errors
from registry.settings import Settings
configure()
report_errors(Settings.load())
token = "canary-of-sentry-0123456789"
try:
    raise ValueError(f"login with {token} failed")
except ValueError:
    get_logger("test").exception("no login", request=token)
"""
LOADED = "import sys; print('sentry_sdk' in sys.modules)"


def run(program: str | list[str], **env: str) -> subprocess.CompletedProcess[str]:
    words = ["-c", program] if isinstance(program, str) else program
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SENTRY_", "PENSTOCK_"))}
    return subprocess.run(
        [sys.executable, *words],
        env=clean | {"NO_PROXY": "127.0.0.1", "PENSTOCK_ENVIRONMENT": "dev/test"} | env,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_an_error_arrives_scrubbed_and_says_which_release_failed() -> None:
    with sentry() as server:
        done = run(FAILING, SENTRY_DSN=server.dsn, VAULT_TOKEN=SECRET)
    (event,) = server.events
    assert server.paths == ["/api/7/envelope/"]
    assert event["exception"]["values"][0]["value"] == "login with ******** failed"
    assert event["release"].startswith(
        f"penstock@{version('penstock')}+{running_code().commit[:12]}"
    )
    assert (event["environment"], event["logger"]) == ("dev-test", "test")
    whole = b"".join(server.bodies) + done.stdout.encode() + done.stderr.encode()
    assert SECRET.encode() not in whole
    # The envelope names the key of the project, and the log nothing of it.
    assert KEY not in done.stderr + done.stdout
    assert str(Path.cwd()).encode() not in b"".join(server.bodies)


@pytest.mark.parametrize("field", ["dsn", "SENTRY_DSN"])
def test_the_dsn_may_be_a_secret(tmp_path: Path, field: str) -> None:
    with sentry() as server:
        (tmp_path / "dsn.json").write_text(json.dumps({field: server.dsn}))
        run(FAILING, PENSTOCK_SENTRY_SECRET=f"file:{tmp_path}/dsn.json", VAULT_TOKEN=SECRET)
    assert len(server.told("no login")) == 1


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        ({"SENTRY_DSN": f"http://{KEY}@/none"}, "https://KEY@HOST/PROJECT"),
        ({"SENTRY_DSN": f"{KEY} rubbish"}, "https://KEY@HOST/PROJECT"),
        ({"PENSTOCK_SENTRY_SECRET": "env:NOT_SET"}, "env:NOT_SET"),
        ({"PENSTOCK_SENTRY_SECRET": "env:OTHER", "OTHER": f"key={KEY}"}, "has no DSN"),
    ],
)
def test_a_dsn_that_is_none_stops_nobody_and_is_not_shown(env: dict[str, str], reason: str) -> None:
    done = run(FAILING + "print('went on')", **env)
    assert (done.returncode, done.stdout.count("went on")) == (0, 1)
    warned = [json.loads(line) for line in done.stderr.splitlines()]
    (line,) = [line for line in warned if line["message"] == "errors are not reported"]
    assert reason in line["event.reason"]
    assert KEY not in done.stderr + done.stdout


def test_without_a_dsn_the_library_is_not_loaded() -> None:
    assert run(FAILING + LOADED).stdout.strip() == "False"
    assert run(f"from penstock.main import main; main(['doctor']); {LOADED}").stdout.endswith(
        "False\n"
    )
    # With one it is loaded by the first error.
    early = FAILING.partition("token =")[0] + LOADED
    assert run(early, SENTRY_DSN=f"http://{KEY}@127.0.0.1:9/7").stdout.strip() == "False"


def test_a_server_that_never_answers_delays_the_end_by_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        begun = time.monotonic()
        done = run(FAILING, SENTRY_DSN=f"http://{KEY}@127.0.0.1:{deaf.getsockname()[1]}/7")
        took = time.monotonic() - begun
    assert done.returncode == 0
    assert took < 15  # two, and what a busy machine needs to start Python


def test_a_command_that_fails_by_a_defect_is_told_and_a_mistake_is_not() -> None:
    defect = (
        "from penstock import main as m\n"
        "def _called(call, console):\n"
        "    m._configure_logs(call)\n"
        "    raise ZeroDivisionError('a defect')\n"
        "m._called = _called\n"
        "raise SystemExit(m.main(['models']))"
    )
    with sentry() as server:
        assert run(defect, SENTRY_DSN=server.dsn).returncode == 70
        mistaken = ["-m", "penstock", "models", "history", "nothing"]
        assert run(mistaken, SENTRY_DSN=server.dsn).returncode == 66
    (event,) = server.events
    assert event["level"] == "fatal"
    assert event["exception"]["values"][0]["type"] == "ZeroDivisionError"


def test_a_job_that_fails_is_told(tmp_path: Path) -> None:
    words = ["-m", "jobs", "--root", str(tmp_path), "--attempt", "attempts/x.json", "--digest", "0"]
    with sentry() as server:
        assert run(words, SENTRY_DSN=server.dsn).returncode == 66
    (event,) = server.told("a job failed")
    assert event["tags"] == {"kind": "not-found"}
    assert "attempts/x.json" in event["exception"]["values"][0]["value"]
