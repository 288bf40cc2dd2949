"""Errors of a service's processes reach Sentry through the supervisor, which alone has the DSN."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.sentry import KEY, Sentry, sentry
from tests.serving.rig import Service, eventually
from tests.serving.test_failures import Team, ask, workers

SECRET = "canary-of-a-service-0123456789"


@pytest.fixture
def team(tmp_path: Path) -> Team:
    return Team(tmp_path)


def given(team: Team, server: Sentry, tmp_path: Path) -> dict[str, Any]:
    """What a service needs to report to `server`; the secret that its operator holds is a canary."""
    (tmp_path / "dsn.json").write_text(json.dumps({"dsn": server.dsn}))
    team.publisher.environment |= {"NO_PROXY": "127.0.0.1", "CONSUL_HTTP_TOKEN": SECRET}
    return {"sentry_secret": f"file:{tmp_path}/dsn.json", "serving_trial_requests": 0}


def test_a_model_that_raises_and_workers_that_die(team: Team, tmp_path: Path) -> None:
    team.promote(1.0, mood="raises", words=f"no answer for {SECRET}")
    with sentry() as server, team.serve(**given(team, server, tmp_path)) as service:
        assert [ask(service).status_code for _ in range(20)] == [500] * 20
        (raised,) = eventually("its event", lambda: server.told("batch failed"))
        os.kill(workers(service)[0], signal.SIGKILL)
        (gateway,) = service.processes("pen:gateway")
        os.kill(gateway, signal.SIGKILL)
        (died,) = eventually("that event", lambda: server.told("worker died"))
        eventually("the gateway's", lambda: server.told("gateway died"))
        secrets_are_kept(service)
        log = service.log
    (value,) = raised["exception"]["values"]
    assert (value["type"], value["value"]) == ("ValueError", "no answer for ********")
    assert value["stacktrace"]["frames"][-1]["function"] == "_misbehave"
    # Which of two workers failed first is chance; of each there is one event, though 20 failed.
    assert len(server.told("batch failed")) <= 2
    assert raised["tags"]["process"] == "pen:flights"
    assert died["tags"]["model"] == "flights"
    assert SECRET.encode() not in b"".join(server.bodies)
    assert KEY not in log


def secrets_are_kept(service: Service) -> None:
    """Who faces clients and models holds neither the DSN nor the library."""
    for pid in service.processes("pen:"):
        assert KEY not in Path(f"/proc/{pid}/environ").read_text()
        assert "sentry_sdk" not in Path(f"/proc/{pid}/maps").read_text()


def test_a_server_that_is_away_holds_up_neither_requests_nor_the_end(
    team: Team, tmp_path: Path
) -> None:
    team.promote(1.0, mood="raises")
    with sentry() as server:
        settings = given(team, server, tmp_path)
    with team.serve(**settings) as service:
        assert ask(service).status_code == 500
        os.kill(workers(service)[0], signal.SIGKILL)
        eventually("its end", lambda: "worker died" in service.log)
        begun = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(30) == 0
        assert time.monotonic() - begun < 15
