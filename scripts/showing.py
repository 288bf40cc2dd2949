"""What the demos share: commands printed before they are run, questions, and words at the end."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import penstock
from pipelines import Features
from pipelines.publish import Publish
from pipelines.session import Session, current, using
from registry.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
USECASE, ALIAS = "flights", "flights@champion"
#: Seconds that something which is sure to come may take.
PATIENCE = 60.0


def say(text: str) -> None:
    """A headline."""
    print(f"\n── {text} ──", flush=True)


def show(*words: str) -> None:
    """A command as it is typed."""
    print(f"\n$ {' '.join(_quoted(word) for word in words)}", flush=True)


def _quoted(word: str) -> str:
    # What the shell of whoever types it is to fill in, or to do, stays as it is.
    return word if word == "&" or "$" in word else shlex.quote(word)


def penstock_command(*words: str, quiet: bool = False) -> None:
    """Print a penstock command and run it; the demo ends where it fails. See `run_command`."""
    show("penstock", *words)
    run_command([sys.executable, "-m", "penstock", *words], quiet=quiet)


def run_command(command: list[str], *, quiet: bool = False) -> None:
    """Run a command that was shown; `quiet` leaves out the middle of a long output."""
    output = subprocess.PIPE if quiet else None
    done = subprocess.run(command, check=False, stdout=output, text=True)
    if quiet:
        print_shortened(done.stdout)
    if done.returncode != 0:
        sys.exit(done.returncode)


def print_shortened(text: str, head: int = 6, tail: int = 6) -> None:
    """The first and last lines of a long output."""
    lines = text.rstrip().splitlines()
    left_out = len(lines) - head - tail
    if left_out > 1:
        lines = [*lines[:head], f"… {left_out} more lines", *lines[-tail:]]
    print("\n".join(lines), flush=True)


def wait_until(holds: Callable[[], object], otherwise: str, patience: float = PATIENCE) -> None:
    """Wait until `holds()`; the demo ends with `otherwise` if it does not."""
    deadline = time.monotonic() + patience
    while not holds():
        if time.monotonic() > deadline:
            sys.exit(otherwise)
        time.sleep(0.1)


def session() -> contextlib.AbstractContextManager[Session]:
    """The tasks' view of the store, fresh each time."""
    return using(Session(Settings.load()))


def about(date: dt.date) -> dict[str, Any]:
    """The parameters of a date's tasks."""
    return {"usecase": USECASE, "date": date, "changes": {}}


def ensure_live(date: dt.date) -> None:
    """Promote the model of a date by hand where the gate refused it, or it was decided before."""
    with session():
        publish = Publish(**about(date))
        verdict, key = publish.verdict(), publish.best().candidate().recipe.key
        live = current().aliases.live(USECASE, "champion").key
    if live == key:
        return
    refused = verdict is not None and verdict.action == "reject"
    why = "demo: the gate refused it, a person decides" if refused else "demo: shown once more"
    if refused and verdict is not None:
        print(
            f"   The gate refused it: {'; '.join(verdict.reasons)}. A person may still promote it."
        )
    penstock_command("promote", ALIAS, key, "--why", why)


def await_live(address: str, headers: Mapping[str, str] | None = None) -> None:
    """Wait until the service answers with what the alias points at."""
    with session():
        wanted = current().aliases.live(USECASE, "champion").version[:16]
    wait_until(
        lambda: served_version(address, headers) == wanted,
        f"the service at {address} did not take up version {wanted} within a minute",
    )


def served_version(address: str, headers: Mapping[str, str] | None = None) -> str:
    """The version that the service answers with now; empty before it is ready."""
    import httpx

    try:
        answer = httpx.get(f"http://{address}/v2/models/{USECASE}", headers=headers)
    except httpx.TransportError:
        return ""
    return str(answer.json().get("versions", [""])[0]) if answer.status_code == 200 else ""


def write_request(folder: Path, date: dt.date) -> Path:
    """One flight of the day as a request body in `folder`; returns its path."""
    with session():
        key = Features(**about(date)).recipe.key
        model = current().aliases.live(USECASE, "champion").key
    row = penstock.artifact(key).table("features").slice(0, 1).to_pylist()[0]
    with penstock.load(model) as loaded:
        names = [column.name for column in loaded.signature.inputs]
    path = folder / "request.json"
    path.write_text(json.dumps({"dataframe_records": [{name: row[name] for name in names}]}))
    return path


def show_answer(
    address: str, request: Path, headers: Mapping[str, str] | None = None, shown: str = ""
) -> None:
    """Ask once, as curl would; `shown` stands for the headers in the line that is printed."""
    import httpx

    print(f"\n$ {curl(request, address, shown)}")
    answer = httpx.post(
        f"http://{address}/invocations",
        content=request.read_bytes(),
        headers={"Content-Type": "application/json", **(headers or {})},
    )
    print(f"  {answer.text.strip()}", flush=True)


def curl(request: Path, address: str, shown: str = "") -> str:
    """The line that asks about that flight."""
    more = f" {shown}" if shown else ""
    kind = "Content-Type: application/json"
    return f"curl -s -H '{kind}'{more} -d @{request} http://{address}/invocations"


def tell(what: str, summary: Mapping[str, Any], failed: list[Any]) -> None:
    """What the client saw while `what`; the demo fails where a request did."""
    print(
        f"\n   {what}: {summary['answered']} requests answered, "
        f"{len(failed)} failed, versions {' → '.join(summary['versions'])}, "
        f"p50 {summary['p50_ms']:.1f} ms, p99 {summary['p99_ms']:.1f} ms",
        flush=True,
    )
    if failed:
        sys.exit(f"requests failed, the first with: {failed[0]}")


def relative(path: Path) -> str:
    """`path` seen from the checkout."""
    return os.path.relpath(path, ROOT)
