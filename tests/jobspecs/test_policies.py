"""The policies shipped for Nomad suffice for what they are for, and for nothing more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobspecs import rig
from tests.penstock.conftest import Place
from tests.servers import fixtures, nomad
from tests.servers.api import Api, ApiError
from tests.servers.nomad import NomadServer

POLICIES = rig.FOLDER / "policies" / "nomad"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NomadServer]:
    """A Nomad that denies what no token allows."""
    folder = tmp_path_factory.mktemp("guarded")
    with nomad.nomad_agent(fixtures.require("nomad"), folder, acl=True) as server:
        for path in sorted(POLICIES.glob("*.hcl")):
            server.policy(f"penstock-{path.stem}", path.read_text())
        yield server


def as_holder(server: NomadServer, policy: str) -> dict[str, str]:
    token = server.make_token(f"penstock-{policy}")
    return {"NOMAD_ADDR": server.address, "NOMAD_TOKEN": token}


def denied(
    server: NomadServer, env: dict[str, str], method: str, path: str, body: object = None
) -> bool:
    api = Api(server.address, {"X-Nomad-Token": env["NOMAD_TOKEN"]})
    try:
        api.call(method, path, body or {"JobID": "penstock-train-s"})
    except ApiError as error:
        return error.status == 403
    return False


def test_the_registrar_registers(guarded: NomadServer, tmp_path: Path):
    env = as_holder(guarded, "register")
    place = Place(tmp_path)
    assert "new" in place.ok("register", "flights", "--dev", **env).out
    assert "0 jobs are new, 0 are changed" in place.ok("register", "flights", "--dev", **env).out
    assert denied(guarded, env, "POST", "/v1/job/penstock-train-s/dispatch")
    assert denied(guarded, env, "DELETE", "/v1/job/penstock-train-s")
    assert denied(guarded, env, "GET", "/v1/nodes")


def test_the_pipeline_cannot_register(guarded: NomadServer, tmp_path: Path):
    Place(tmp_path).ok("register", "--dev", **as_holder(guarded, "register"))
    env = as_holder(guarded, "pipeline")
    done = Place(tmp_path).call("register", "--dev", **env)
    assert done.code == 78
    assert "lacks the capability parse-job" in done.err
    job = {"Job": guarded.api.get("/v1/job/penstock-train-s") | {"Priority": 99}}
    assert denied(guarded, env, "POST", "/v1/jobs", job)
    assert denied(guarded, env, "POST", "/v1/job/penstock-train-s/plan", job)
    for path in ("/v1/jobs", "/v1/job/penstock-train-s", "/v1/evaluations", "/v1/nodes"):
        assert not denied(guarded, env, "GET", path)
    assert not denied(guarded, env, "POST", "/v1/job/penstock-train-s/dispatch")
    assert not denied(guarded, env, "DELETE", "/v1/job/penstock-train-m")


def test_without_a_token_it_is_said_what_is_missing(guarded: NomadServer, tmp_path: Path):
    done = Place(tmp_path).call("register", "--dev", NOMAD_ADDR=guarded.address)
    assert done.code == 78
    assert "NOMAD_TOKEN is not set; it takes the capability parse-job" in done.err


def test_who_deploys_can_neither_dispatch_nor_read_logs(guarded: NomadServer, tmp_path: Path):
    env = as_holder(guarded, "deploy")
    words = ("deploy", "flights@champion", "--dev", "--var", "provider=nomad", "--no-wait")
    assert "new       penstock-serving" in Place(tmp_path).ok(*words, "--var", "count=0", **env).out
    assert denied(guarded, env, "POST", "/v1/job/penstock-train-s/dispatch")
    assert denied(guarded, env, "DELETE", "/v1/job/penstock-serving")
