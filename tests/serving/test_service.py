"""The service as its operator sees it: overload, drain, loads that crash or hang, leaks, settings."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from registry.errors import ConfigError, Refused, UsageError
from registry.settings import Settings
from serving.listeners import close_all, listen
from serving.loadclient import Load
from serving.options import Options
from serving.service import parse_models
from tests.serving import models
from tests.serving.conftest import BODIES, Trained
from tests.serving.rig import Publisher, Service, alive, eventually

Run = Callable[..., Any]


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Processes that do nothing until the block ends."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            if alive(pid):
                os.kill(pid, signal.SIGCONT)


def test_overload_is_refused_at_once_and_what_was_accepted_is_answered(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run(serving_max_queue_rows=4, serving_workers=1) as service:
        with (
            stopped(*service.processes("pen:flights")),
            Load(service.address, BODIES, connections=16, limit=1000) as load,
        ):
            # Nothing is computed, so every answer is a refusal.
            load.wait(100)
            notes = list(load.report.notes)
            assert {note.status for note in notes} == {503}
            pending = service.get("/metrics").text
            assert 'pending_row_count{model="flights"} 4' in pending
            for pid in service.processes("pen:flights"):
                os.kill(pid, signal.SIGCONT)
            eventually("answers", lambda: any(n.status == 200 for n in load.report.notes))
        assert {note.status for note in load.report.notes} == {200, 503}


def test_deadline_of_a_request(publisher: Publisher, bundles: dict[str, Trained], run: Run) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run(serving_workers=1) as service, stopped(*service.processes("pen:flights")):
        body = {"inputs": [], "parameters": {"timeout": 1000}}
        for name, value in models.row(models.SIGNATURE, 1).items():
            kind = {str: "BYTES", int: "INT64", float: "FP64"}[type(value)]
            tensor = {"name": name, "shape": [1], "datatype": kind, "data": [value]}
            body["inputs"].append(tensor)  # type: ignore[attr-defined]
        answer = service.post("/v2/models/flights/infer", body)
        assert answer.status_code == 504


def test_drain_finishes_what_is_in_flight(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run(serving_drain_delay=0.5) as service:
        answers: list[int] = []

        def ask() -> None:
            answers.append(service.post("/invocations", json.loads(BODIES[0])).status_code)

        with stopped(*service.processes("pen:flights")):
            asking = threading.Thread(target=ask)
            asking.start()
            eventually("the request", lambda: pending(service) == 1)
            service.process.send_signal(signal.SIGTERM)
            eventually("not ready", lambda: status(service, "/v2/health/ready") == 503)
            assert status(service, "/v2/health/live") == 200
            eventually("a closed port", lambda: refused(service))
        asking.join()
        assert answers == [200]
        assert service.process.wait(60) == 0


def pending(service: Service) -> int:
    line = 'penstock_inference_pending_request_count{model="flights"} '
    answer = raw_get(service, "/metrics")
    return int(answer.partition(line)[2].split()[0])


def status(service: Service, path: str) -> int:
    return int(raw_get(service, path).split()[1])


def raw_get(service: Service, path: str) -> str:
    """GET on a connection of its own, which the test's other thread does not use."""
    host, port = service.address.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        data = b""
        while chunk := connection.recv(65536):
            data += chunk
    return data.decode()


def refused(service: Service) -> bool:
    host, port = service.address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=60).close()
    except ConnectionRefusedError:
        return True
    return False


def test_drain_warns_every_connection_before_it_is_closed(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run(serving_drain_delay=1) as service, ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask_until_told_to_go, service.address) for _ in range(4)]
        eventually("requests", lambda: 'success_total{model="flights"' in metrics(service))
        service.process.send_signal(signal.SIGTERM)
        assert all(asked.result() > 0 for asked in asking)


def metrics(service: Service) -> str:
    return raw_get(service, "/metrics")


def ask_until_told_to_go(address: str) -> int:
    """Ask on one connection until an answer closes it; returns the number of answers."""
    connection = http.client.HTTPConnection(address, timeout=60)
    answers = 0
    while True:
        connection.request("POST", "/invocations", BODIES[0])
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        answers += 1
        if answer.headers["connection"] == "close":
            connection.close()
            return answers


class Candidates:
    """Does something to every worker that was not there before."""

    def __init__(self, service: Service, act: Callable[[int], None]) -> None:
        self._service = service
        self._act = act
        self._known = set(service.processes("pen:flights"))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.met: list[int] = []

    def _run(self) -> None:
        while not self._stop.is_set():
            for pid in set(self._service.processes("pen:flights")) - self._known:
                self._known.add(pid)
                self.met.append(pid)
                self._act(pid)
            time.sleep(0.002)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_crash_while_loading_ends_only_the_candidate(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run(serving_load_attempts=2) as service:
        workers = set(service.processes("pen:flights"))
        with Candidates(service, lambda pid: os.kill(pid, signal.SIGKILL)):
            publisher.publish("flights", bundles["catboost-4"].folder)
            service.wait_for_page("2: rejected")
        assert "crashed" in service.get("/").text
        assert service.revision() == 1
        assert set(service.processes("pen:flights")) == workers
        publisher.publish("flights", bundles["lightgbm-2"].folder)
        service.wait_for(3)


def test_hang_while_loading_ends_only_the_candidate(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run(serving_load_attempts=1, serving_load_timeout=2) as service:
        with Candidates(service, lambda pid: os.kill(pid, signal.SIGSTOP)) as candidates:
            publisher.publish("flights", bundles["catboost-4"].folder)
            service.wait_for_page("2: rejected")
            assert "after 2 s" in service.get("/").text
        assert not any(map(alive, candidates.met))
        assert service.revision() == 1


def test_a_newer_revision_supersedes_a_candidate_that_is_still_loading(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run() as service:
        with Candidates(service, lambda pid: os.kill(pid, signal.SIGSTOP)) as candidates:
            publisher.publish("flights", bundles["catboost-4"].folder)
            eventually("a candidate", lambda: candidates.met)
        publisher.publish("flights", bundles["lightgbm-2"].folder)
        service.wait_for(3)
        eventually("its end", lambda: not any(map(alive, candidates.met)))
        assert "superseded" in service.log


def kill_one_worker(service: Service) -> None:
    """SIGKILL a worker. One of a generation that drains may have ended since it was listed."""

    def killed() -> bool:
        try:
            os.kill(service.processes("pen:flights")[0], signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    eventually("a worker to kill", killed)


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def mappings(pid: int) -> int:
    return Path(f"/proc/{pid}/maps").read_text().count("memfd:penstock")


@pytest.mark.usefixtures("no_shm_leaks")
def test_reloads_and_deaths_leave_nothing_behind(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run() as service:
        (gateway,) = service.processes("pen:gateway")
        kept = [service.process.pid, *direct_children(service), gateway]
        service.revision()
        eventually("quiet", lambda: len(service.processes("pen:flights")) == 2)
        before = [(descriptors(pid), mappings(pid)) for pid in kept]
        for revision in range(2, 6):
            publisher.publish("flights", bundles[f"lightgbm-{revision % 3 + 1}"].folder)
            service.wait_for(revision)
            kill_one_worker(service)
        eventually("quiet", lambda: len(service.processes("pen:flights")) == 2)
        eventually(
            "nothing left",
            lambda: [(descriptors(pid), mappings(pid)) for pid in kept] == before,
        )


def direct_children(service: Service) -> list[int]:
    pid = service.process.pid
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_two_models(publisher: Publisher, bundles: dict[str, Trained], run: Run) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    publisher.publish("churn", bundles["lightgbm-2"].folder)
    with run("flights@champion", "churn") as service:
        assert service.get("/v2/models/churn/ready").status_code == 200
        ambiguous = service.post("/invocations", json.loads(BODIES[0]))
        assert ambiguous.status_code == 400
        assert "churn" in ambiguous.json()["message"]


def test_numeric_signature_takes_one_matrix(publisher: Publisher, tmp_path: Path, run: Run) -> None:
    bundle = models.train(tmp_path / "n", flavor="lightgbm", seed=5, signature=models.NUMERIC)
    publisher.publish("flights", bundle.folder)
    rows = [models.row(models.NUMERIC, number) for number in range(5)]
    data = [[row[name] for name in models.NUMERIC.names] for row in rows]
    expected = models.Oracle(bundle).predict(rows)
    with run() as service:
        for values in (data, [value for row in data for value in row]):
            tensor = {"name": "x", "datatype": "FP32", "shape": [5, 4], "data": values}
            answer = service.post("/v2/models/flights/infer", {"inputs": [tensor]})
            assert answer.json()["outputs"][0]["data"] == expected
        bad = {"name": "x", "datatype": "FP64", "shape": [1, 3], "data": [1, 2, 3]}
        answer = service.post("/v2/models/flights/infer", {"inputs": [bad]})
        assert "x0, x1, x2, x3" in answer.json()["error"]
        bad = {"name": "x", "datatype": "FP64", "shape": [1, 4], "data": [1, 2, "3", 4]}
        answer = service.post("/v2/models/flights/infer", {"inputs": [bad]})
        assert "value 2" in answer.json()["error"]


# settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_a_public_address_is_refused_unless_asked_for_by_name(host: str) -> None:
    with pytest.raises(Refused, match="PENSTOCK_SERVING_ALLOW_PUBLIC"):
        Options(host=host).check_bind()
    with pytest.raises(Refused, match="clients would need no token"):
        Options(host=host, allow_public=True).check_bind()
    with pytest.raises(Refused, match="nobody asked"):
        Options(host=host, tokens=True).check_bind()
    Options(host=host, allow_public=True, tokens=True).check_bind()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_loopback_is_fine(host: str) -> None:
    Options(host=host).check_bind()


@pytest.mark.usefixtures("no_fd_leaks")
@pytest.mark.parametrize(("there", "more"), [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_a_port_in_use(there: int, more: int) -> None:
    taken = listen("127.0.0.1", 0, there)
    try:
        (port,) = {each.getsockname()[1] for each in taken}
        with pytest.raises(ConfigError, match="SERVING_PORT"):
            listen("127.0.0.1", port, more)
    finally:
        close_all(taken)


def test_options_come_from_the_settings() -> None:
    environment = {"PENSTOCK_SERVING_MAX_BATCH_SIZE": "7", "PENSTOCK_SERVING_ALLOW_PUBLIC": "yes"}
    options = Options.from_settings(Settings.load(environment))
    assert (options.max_batch_size, options.allow_public) == (7, True)
    assert Options.from_settings(Settings.load({})) == Options(log_level="warning")


@pytest.mark.parametrize(
    "names", [[], ["flights", "flights@challenger"], ["a/b"], ["x@../y"], [""]]
)
def test_names_of_models(names: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_models(names)


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    environment = {**os.environ, "PENSTOCK_VAR": str(tmp_path), "PENSTOCK_STORE": str(tmp_path)}
    command = [sys.executable, "-m", "serving", "--host", "0.0.0.0", "flights"]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == Refused.exit_code
    assert "PENSTOCK_SERVING_ALLOW_PUBLIC" in ended.stderr
