"""`penstock deploy` against a real Nomad, which makes the checks itself here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobspecs import rig
from tests.jobspecs.services import IMPATIENT, PATIENT, a_live_model, deploying
from tests.penstock.conftest import Place, model_files
from tests.servers.nomad import NomadServer

__all__ = ["model_files"]  # a fixture
NOMAD = ("--var", "provider=nomad")


@pytest.fixture
def place(tmp_path: Path, nomad_env: NomadServer) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        ("deploy", 64, "--promote"),
        ("deploy churn --revert --dev", 64, "--promote"),
        ("deploy churn", 64, "--image"),
        ("deploy --promote", 77, "no deployment of penstock-serving is under way"),
        ("deploy --revert", 66, "versions not found"),
        ("deploy churn --timeout 0", 64, "--timeout"),
    ],
)
def test_words_that_are_off(place: Place, words: str, code: int, named: str):
    done = place.call(*words.split())
    assert done.code == code, done.err
    assert named in done.err


def test_services_may_have_a_cluster_of_their_own(place: Place, nomad_env: NomadServer):
    words = ("deploy", "churn", "--dev", *NOMAD, "--plan")
    own = {"NOMAD_ADDR": rig.NOWHERE, "PENSTOCK_SERVICES_NOMAD_ADDR": nomad_env.address}
    assert "new       penstock-serving" in place.ok(*words, **own).out
    assert nomad_env.api.get("/v1/jobs") == []
    away = place.call(*words, PENSTOCK_SERVICES_NOMAD_ADDR=rig.NOWHERE)
    assert away.code == 75


def test_a_canary_that_finds_no_room_is_told(place: Place, nomad_env: NomadServer):
    words = deploying("churn", PATIENT, *NOMAD, "--var", "cpu=1000000", "--timeout", "3")
    done = place.call(*words)
    assert done.code == 75
    assert "group serving is not placed: cpu" in done.err


@pytest.mark.timeout(800)
def test_a_version_that_works_is_promoted_and_one_that_does_not_reverted(
    place: Place, nomad_env: NomadServer, model_files: Path
):
    a_live_model(place, model_files)
    first = place.ok(*deploying("churn", PATIENT, *NOMAD))
    assert "penstock-serving is deployed" in first.out
    assert place.ok(*deploying("churn", PATIENT, *NOMAD, "--json")).document["action"] == (
        "unchanged"
    )

    second = place.ok(*deploying("churn", PATIENT, *NOMAD, "--env", "A=1"))
    assert "1 of 1 canaries healthy" in second.out
    assert "next: penstock deploy --promote" in second.out
    assert running(nomad_env) == {0: 2, 1: 1}
    place.ok("deploy", "--promote")
    assert running(nomad_env) == {1: 2}

    broken = place.call(*deploying("nobody churn", IMPATIENT, *NOMAD))
    assert broken.code == 77
    assert "rolling back to job version 1" in broken.err
    assert "not every model is ready: nobody" in broken.err, "the output of the check"
    assert rig.task_of(nomad_env.api.get("/v1/job/penstock-serving"))["Env"]["A"] == "1"

    back = place.ok("deploy", "--revert")
    assert "goes back to the version before" in back.out
    assert "A" not in rig.task_of(nomad_env.api.get("/v1/job/penstock-serving"))["Env"]


def running(server: NomadServer) -> dict[int, int]:
    """How many instances of each version of the service there are to be."""
    versions = [
        each["JobVersion"]
        for each in server.allocations("penstock-serving")
        if each["ClientStatus"] == "running" and each["DesiredStatus"] == "run"
    ]
    return {version: versions.count(version) for version in set(versions)}
