"""The periodic job on a real Nomad: it fires, never twice at once, each time for its own dates."""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.penstock.conftest import Place
from tests.servers import process
from tests.servers.nomad import NomadServer

PARENT = "penstock-pipeline-flights"
#: `penstock schedule` as it is, but a run is a note; the first one lasts until `go` is there.
PROGRAM = """#!{python}
import sys

from penstock.main import main
from pipelines.commands import schedule

NOTE = '''
import json, os, pathlib, sys, time
folder = pathlib.Path({folder!r})
note = {{"date": sys.argv[1], "job": os.environ["NOMAD_JOB_ID"], "prefix":
        os.environ["PENSTOCK_NOMAD_PREFIX"], "addr": os.environ["NOMAD_ADDR"]}}
with open(folder / "notes", "a") as file:
    file.write(json.dumps(note) + chr(10))
while not (folder / "go").exists():
    time.sleep(0.05)
'''
schedule.command = lambda args, date: [sys.executable, "-c", NOTE, str(date)]
sys.exit(main(sys.argv[3:]))
"""


@pytest.fixture
def place(tmp_path: Path, nomad_env: NomadServer) -> Place:
    program = tmp_path / "program"
    program.write_text(PROGRAM.format(python=sys.executable, folder=str(tmp_path)))
    program.chmod(0o755)
    return Place(tmp_path)


def notes(place: Place) -> list[dict[str, Any]]:
    path = place.folder / "notes"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def launches(server: NomadServer, status: str | None = None) -> list[str]:
    found = server.api.get(f"/v1/jobs?prefix={PARENT}/periodic-")
    return [job["ID"] for job in found if status in (None, job["Status"])]


@pytest.mark.timeout(400)
def test_each_launch_is_for_its_own_dates_and_none_overlaps(place: Place, nomad_env: NomadServer):
    # Data of 2013 on a schedule of today: they come some years late.
    lag = (dt.datetime.now(dt.UTC).date() - dt.date(2013, 2, 11)).days
    values = {
        "command": str(place.folder / "program"),
        "crons": '["*/2 * * * * * *"]',  # every other second
        "lag": f"{lag}d",
        "catch_up": "2",
    }
    words = [word for name, value in values.items() for word in ("--var", f"{name}={value}")]
    place.ok("register", "flights", "--dev", *words)

    process.until(lambda: notes(place), "the first launch runs", 120)
    first = notes(place)[0]
    # It holds on. Other ticks pass, and launch nothing.
    due = int(first["job"].rpartition("-")[2])
    process.until(lambda: dt.datetime.now(dt.UTC).timestamp() > due + 7, "three ticks passed")
    assert launches(nomad_env) == [first["job"]]
    (place.folder / "go").touch()
    process.until(lambda: len(notes(place)) >= 4, "another launch runs", 150)
    nomad_env.api.delete(f"/v1/job/{PARENT}")

    found = notes(place)
    assert (first["prefix"], first["addr"]) == ("penstock", nomad_env.address)
    for job in {note["job"] for note in found}:
        tick = dt.datetime.fromtimestamp(int(job.rpartition("-")[2]), dt.UTC)
        last = tick.date() - dt.timedelta(days=lag + 1)
        wanted = [str(last - dt.timedelta(days=1)), str(last)]
        dates = [note["date"] for note in found if note["job"] == job]
        assert dates == wanted[: len(dates)]  # the last launch may be under way
    assert len({note["job"] for note in found}) > 1
