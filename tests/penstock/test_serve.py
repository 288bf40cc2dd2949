"""`penstock serve`, as a process: refusals, and a service that starts, answers and ends."""

from __future__ import annotations

import signal
import subprocess
import sys

import httpx
import pytest

from tests.penstock.conftest import Imported, Place


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        ("serve", 64, "ALIAS"),
        ("serve Bad", 64, "'Bad'"),
        ("serve churn churn@challenger", 64, "one alias of each model"),
        ("serve churn --port many", 64, "--port: 'many'"),
        ("serve churn --port 65536", 64, "65535"),
        ("serve churn --host 0.0.0.0", 77, "PENSTOCK_SERVING_ALLOW_PUBLIC"),
    ],
)
def test_what_is_refused(place: Place, words: str, code: int, named: str) -> None:
    done = place.call(*words.split())
    assert done.code == code, done.err
    assert named in done.err


def test_it_answers_and_ends(imported: Imported) -> None:
    command = [sys.executable, "-m", "penstock", "serve", "churn", "--port", "0"]
    command += ["--address-file", "address"]
    with subprocess.Popen(
        command, cwd=imported.folder, env=imported.environ, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline(), process.stdout.readline()]
            assert "ready: http://127.0.0.1:" in lines[1]
            address = (imported.folder / "address").read_text().strip()
            answer = httpx.get(f"http://{address}/v2/models/churn/ready", trust_env=False)
            assert answer.status_code == 200
        finally:
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "next: penstock models" in out


def test_nothing_live_yet_is_said(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.service.serve", lambda *_, **__: None)
    done = place.ok("serve", "churn@champion", "--port", "0")
    assert "nothing is live at churn@champion yet" in done.err
