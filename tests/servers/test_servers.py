from __future__ import annotations

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError
from obstore.store import from_url

from tests.servers import listeners, process, remains


def test_the_s3_server_lets_one_of_many_writers_create_a_key(s3_url):
    # Path style: the bucket is the first part of the path, not of the host's name.
    store = from_url(s3_url, virtual_hosted_style_request=False)

    def create(writer: int) -> bool:
        try:
            obstore.put(store, "key", str(writer).encode(), mode="create")
        except AlreadyExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    assert won.count(True) == 1
    assert bytes(obstore.get(store, "key").bytes()) == str(won.index(True)).encode()


def test_two_stores_of_one_server_are_apart(s3_url, s3):
    assert not list(obstore.list(from_url(s3_url)))
    assert s3_url != s3.url("")


def test_a_server_that_dies_says_what_it_printed(tmp_path):
    command = [sys.executable, "-c", "print('no such disk'); raise SystemExit(3)"]
    with (
        pytest.raises(process.ServerFailedError, match=r"exited with 3:\nno such disk"),
        process.running(command, tmp_path / "log", ready=lambda: False),
    ):
        pass


def test_a_server_is_stopped_at_the_end(tmp_path):
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with process.running(command, tmp_path / "log", ready=lambda: True) as server:
        assert server.poll() is None
    assert server.returncode is not None


def test_a_server_that_hangs_says_so_and_is_stopped(tmp_path):
    command = [sys.executable, "-c", "import time; print('hm', flush=True); time.sleep(60)"]
    agent = process.Agent(command, tmp_path / "log", ready=lambda: False, patience=0.5)
    with pytest.raises(process.ServerFailedError, match=r"not ready after 0 s"):
        agent.start()
    assert not agent.running


def test_a_server_that_answers_at_the_port_of_another_is_not_taken_for_it(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = foreign.getsockname()[1]
        command = [sys.executable, "-c", "import time; time.sleep(60)"]
        agent = process.Agent(
            command, tmp_path / "log", ready=lambda: process.accepts(port), port=port
        )
        with pytest.raises(process.ServerFailedError, match=f"port {port}: address already in use"):
            agent.start()
        assert not agent.running


def test_a_server_has_its_port_to_itself(tmp_path):
    port = process.free_port()
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    with process.running(
        command, tmp_path / "log", lambda: process.accepts(port), port=port
    ) as own:
        assert not listeners.is_foreign(port, own.pid)
        assert listeners.is_foreign(port, os.getpid())


def test_a_server_is_started_again_by_the_same_command(tmp_path):
    log = tmp_path / "log"
    command = [sys.executable, "-uc", "import time; print('here'); time.sleep(60)"]
    agent = process.Agent(command, log, ready=lambda: log.read_text() != "")
    agent.start()
    first = agent.pid
    agent.kill()
    assert not agent.running
    agent.start()
    assert agent.pid != first
    agent.stop()
    assert not remains.lives(agent.pid)


class Taken:
    """A server whose first port was taken by somebody else, and that starts on the second."""

    made = 0
    closed = 0

    def __init__(self, text: str) -> None:
        self.text = text
        self.number = Taken.made
        Taken.made += 1

    def start(self) -> None:
        if self.number == 0:
            raise process.ServerFailedError(self.text)

    def close(self) -> None:
        Taken.closed += 1


def test_a_server_tries_other_ports_where_one_was_taken(monkeypatch):
    monkeypatch.setattr(Taken, "made", 0)
    monkeypatch.setattr(Taken, "closed", 0)
    server = process.on_free_ports(lambda: Taken("bind: address already in use"))
    assert (server.number, Taken.closed) == (1, 1)


def test_a_server_that_fails_for_another_reason_is_not_tried_again(monkeypatch):
    monkeypatch.setattr(Taken, "made", 0)
    monkeypatch.setattr(Taken, "closed", 0)
    with pytest.raises(process.ServerFailedError, match="no such flag"):
        process.on_free_ports(lambda: Taken("no such flag"))
    assert (Taken.made, Taken.closed) == (1, 1)


def test_ports_of_an_earlier_start_are_taken_again(tmp_path):
    file = tmp_path / "ports.json"
    first = process.free_ports(file, ["a", "b"])
    assert process.free_ports(file, ["a", "b"]) == first
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", first["a"]))
        assert first["a"] not in process.free_ports(file, ["a", "b"]).values()


def test_what_carries_the_mark_is_ended_and_nothing_else(tmp_path):
    command = [sys.executable, "-uc", "print('here'); import time; time.sleep(60)"]
    marks = [f"TEST_SERVER_FOLDER={tmp_path}/{name}" for name in ("mine", "other")]
    found = [
        subprocess.Popen(command, env=dict([mark.split("=", 1)]), stdout=subprocess.PIPE)
        for mark in marks
    ]
    for each in found:
        assert each.stdout
        with each.stdout as printed:
            printed.readline()
    try:
        assert remains.reap(marks[0]) == [found[0].pid]
        assert found[0].wait(60) == -15
        assert found[1].poll() is None
    finally:
        for each in found:
            process.stop(each)
