"""Versions of a service come and go while a client asks whichever instance Consul calls healthy."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.jobspecs.services import IMPATIENT, PATIENT, a_live_model, deploying
from tests.penstock.conftest import Place, model_files
from tests.servers import consul, fixtures, nomad, process
from tests.servers.consul import ConsulServer
from tests.servers.nomad import NomadServer

__all__ = ["model_files"]  # a fixture
SERVICE = "penstock-serving"
ROW = {"inputs": [{"hour": 13, "temp": 0.5, "origin": "JFK"}]}


class Cluster(NamedTuple):
    consul: ConsulServer
    nomad: NomadServer


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A Nomad that registers services with a Consul; commands find both."""
    programs = fixtures.require("consul"), fixtures.require("nomad")
    with (
        consul.consul_agent(programs[0], tmp_path / "consul") as catalogue,
        nomad.nomad_agent(programs[1], tmp_path / "nomad", consul=catalogue) as agent,
    ):
        fixtures.set_environment(monkeypatch, {**catalogue.environment, **agent.environment})
        yield Cluster(catalogue, agent)


class Client:
    """Asks Consul for passing instances and one of them for a prediction, again and again."""

    def __init__(self, catalogue: ConsulServer) -> None:
        self.answers: dict[str, int] = {}
        self.failures: list[str] = []
        self._catalogue = catalogue
        self._stop = threading.Event()
        self._random = random.Random(0)

    def passing(self) -> list[str]:
        found = self._catalogue.api.get(f"/v1/health/service/{SERVICE}?passing")
        return [f"{each['Service']['Address']}:{each['Service']['Port']}" for each in found]

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _run(self) -> None:
        with httpx.Client(trust_env=False, timeout=30) as http:
            while not self._stop.wait(0.02):
                self._ask(http)

    def _ask(self, http: httpx.Client) -> None:
        instances = self.passing()
        if not instances:
            self.failures.append("Consul knows no passing instance")
            return
        address = self._random.choice(instances)
        try:
            # A connection for each request, as a client makes that picks anew.
            reply = http.post(
                f"http://{address}/invocations",
                json={"dataframe_records": ROW["inputs"]},
                headers={"Connection": "close"},
            )
            reply.raise_for_status()
        except httpx.HTTPError as error:
            self.failures.append(f"{time.time():.2f} {address}: {error!r}")
        else:
            self.answers[address] = self.answers.get(address, 0) + 1


@pytest.mark.timeout(900)
def test_a_broken_version_is_reverted_and_no_request_fails(
    cluster: Cluster, tmp_path: Path, model_files: Path
):
    place = Place(tmp_path)
    a_live_model(place, model_files)
    place.ok(*deploying("churn", PATIENT))
    client = Client(cluster.consul)
    process.until(lambda: len(client.passing()) == 2, "two instances in Consul", 120)
    with client.asking():
        place.ok(*deploying("churn", PATIENT, "--env", "PENSTOCK_LOG_LEVEL=info", "--promote"))
        old = set(client.answers)
        crashes = place.call(*deploying("churn", IMPATIENT, "--env", "PENSTOCK_WORKERS=none"))
        unready = place.call(*deploying("churn nobody", IMPATIENT))
        again = place.ok(*deploying("churn", PATIENT, "--env", "A=1", "--promote"))
    assert client.failures == []
    assert crashes.code == unready.code == 77
    assert "rolling back to job version 1" in crashes.err
    assert "Exit Code: 78" in crashes.err
    assert "not every model is ready: nobody" in unready.err, "the output of Consul's check"
    assert "penstock-serving is deployed" in again.out
    assert len(client.passing()) == 2
    assert sum(client.answers.values()) > 20  # on a busy machine, too
    assert set(client.answers) - old, "instances of the later version answered too"
