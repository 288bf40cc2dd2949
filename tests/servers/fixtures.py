"""Fixtures of the real servers. One that is missing skips on a laptop and fails in CI."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest

from tests.servers import programs
from tests.servers.s3 import S3Server, s3_server


def require(name: str) -> None:
    """Skip the test where server `name` is not at hand, or fail it where `CI` is set."""
    if programs.find(name):
        return
    reason = f"{name} is neither on PATH nor built; run `make servers`"
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server for the whole session, empty at its start.

    Its folder, the log included, stays in pytest's temporary folder, where that of a failed
    session can be read afterwards.
    """
    require("versitygw")
    program = programs.find("versitygw")
    assert program
    with s3_server(program, tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3_url(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty store on a real S3 server; the environment holds address and user."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3.url(uuid.uuid4().hex)
