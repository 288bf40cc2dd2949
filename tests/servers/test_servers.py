from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError
from obstore.store import from_url

from tests.servers import process, programs
from tests.servers.fixtures import require


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


def test_a_program_on_the_path_comes_first(tmp_path, monkeypatch):
    mine = tmp_path / "versitygw"
    mine.write_text("#!/bin/sh\n")
    mine.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert programs.find("versitygw") == mine


def test_the_cache_is_keyed_by_version(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    program = programs.PROGRAMS["versitygw"]
    assert program.cached.is_relative_to(tmp_path / "penstock" / "servers")
    assert f"versitygw-{program.version}-" in str(program.cached)
    assert program.version.startswith("v1.")


def test_without_go_the_message_names_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert programs.find("versitygw") is None
    with pytest.raises(programs.MissingServerError, match=r"Install versitygw itself, or Go"):
        programs.build("versitygw")


def test_a_missing_server_skips_locally_and_fails_in_ci(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="make servers"):
        require("versitygw")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="make servers"):
        require("versitygw")
