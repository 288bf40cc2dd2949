from __future__ import annotations

import base64
import os
import shutil
import ssl
import urllib.error

import pytest

from tests.servers import process, remains
from tests.servers.api import Api, ApiError
from tests.servers.fixtures import require
from tests.servers.jobs import output, shell_job, wait_for
from tests.servers.nomad import nomad_agent

SLEEPER = "trap '' TERM INT; echo $$; while true; do sleep 0.2; done"


def test_a_dispatched_job_gets_its_payload(nomad_env):
    job = shell_job("echo", 'cat "$NOMAD_TASK_DIR/in"', DispatchPayload={"File": "in"}) | {
        "ParameterizedJob": {"Payload": "required"}
    }
    nomad_env.register(job)
    body = {"Payload": base64.b64encode(b"hello").decode()}
    child = nomad_env.api.post("/v1/job/echo/dispatch", body)["DispatchedJobID"]
    wait_for(nomad_env, child, "complete")
    assert output(nomad_env, child) == "hello"


def test_what_a_test_leaves_is_forgotten(nomad_env):
    nomad_env.register(shell_job("left", "echo $$; exec sleep 60"))
    wait_for(nomad_env, "left", "running")
    pid = int(output(nomad_env, "left"))
    assert remains.lives(pid)
    nomad_env.forget()
    assert nomad_env.api.get("/v1/jobs") == []
    process.until(lambda: not remains.lives(pid), "the task ended")


def test_the_environment_is_what_nomads_own_program_needs(nomad_env, monkeypatch):
    assert os.environ["NOMAD_ADDR"] == nomad_env.address
    assert "raw_exec" in nomad_env.cli("node", "status", "-self", "-verbose")


def test_a_task_outlives_the_agent_that_runs_it_and_the_server(tmp_path):
    with nomad_agent(require("nomad"), tmp_path / "nomad", persistent=True) as nomad:
        nomad.register(shell_job("sleeper", SLEEPER))
        wait_for(nomad, "sleeper", "running")
        pid = int(output(nomad, "sleeper"))
        nomad.client.kill()
        assert remains.lives(pid)
        nomad.client.start()
        nomad.server.kill()
        nomad.start()
        assert len(nomad.allocations("sleeper")) == 1
        wait_for(nomad, "sleeper", "running")
        assert remains.lives(pid)
        # The agent that was started again has the task in hand: it can still end it.
        nomad.forget()
        process.until(lambda: not remains.lives(pid), "the task ended")


def test_no_process_outlives_the_block(tmp_path):
    with nomad_agent(require("nomad"), tmp_path / "nomad", persistent=True) as nomad:
        nomad.register(shell_job("sleeper", SLEEPER))
        wait_for(nomad, "sleeper", "running")
        pid = int(output(nomad, "sleeper"))
        nomad.kill()
        assert remains.lives(pid)
    assert not remains.lives(pid)
    assert not process.accepts(nomad.ports.http)
    shutil.rmtree(tmp_path / "nomad")  # nothing is mounted there any more


def test_tokens_and_certificates_are_asked_for(tmp_path):
    with nomad_agent(require("nomad"), tmp_path / "nomad", acl=True, tls=True) as nomad:
        assert nomad.environment["NOMAD_CACERT"] == str(nomad.ca_file)
        anyone = Api(nomad.address, ca_file=nomad.ca_file)
        with pytest.raises(ApiError, match="403"):
            anyone.get("/v1/jobs")
        nomad.policy("reader", 'namespace "default" { capabilities = ["list-jobs"] }')
        token = {"X-Nomad-Token": nomad.make_token("reader")}
        reader = Api(nomad.address, token, nomad.ca_file)
        assert reader.get("/v1/jobs") == []
        with pytest.raises(ApiError, match="403"):
            reader.put("/v1/jobs", {"Job": shell_job("x", "true")})
        with pytest.raises(urllib.error.URLError) as raised:
            Api(nomad.address, token).get("/v1/jobs")
        assert isinstance(raised.value.reason, ssl.SSLCertVerificationError)
