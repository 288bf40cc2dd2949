"""Spoilt requests among plain ones, which are gathered: none is answered with what is another's."""

from __future__ import annotations

import json
import random
import re
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.campaigns import spoilt
from tests.plugins.campaign import Campaign
from tests.serving.conftest import Trained, all_numbers
from tests.serving.rig import PATIENCE, Publisher, Service, service

pytestmark = pytest.mark.timeout(0)

#: Connections at once in a round, and pairs of a spoilt request and a canary on each.
CONNECTIONS, PAIRS = 8, 100


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return all_numbers(tmp_path_factory.mktemp("numbers") / "n", seed=1)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, trained: Trained) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("fuzz")
    publisher = Publisher(folder)
    publisher.publish("flights", trained.folder)
    with service(publisher, folder / "run", "flights", serving_workers=1) as started:
        yield started


class Connection:
    """One kept connection. Each request leaves in one piece, as those do that may be gathered."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self._received = b""

    def ask(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer, of which there must be one."""
        self._socket.sendall(spoilt.Request(path, body).encode())
        while (found := self._complete()) is None:
            piece = self._socket.recv(1 << 16)
            assert piece, f"closed after {body!r}"
            self._received += piece
        return found

    def _complete(self) -> tuple[int, bytes] | None:
        head, end, rest = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if not end or length is None or len(rest) < int(length[1]):
            return None
        size = int(length[1])
        self._received = rest[size:]
        assert not self._received, "an answer to nothing"
        return int(head.split()[1]), rest[:size]

    def close(self) -> None:
        self._socket.close()


@pytest.mark.campaign
def test_spoilt_requests_among_plain_ones(
    running: Service, trained: Trained, campaign: Campaign
) -> None:
    statuses: Counter[int] = Counter()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for turn in campaign.rounds(short=4):
            seeds = [turn.random.getrandbits(62) for _ in range(CONNECTIONS)]
            for counted in pool.map(partial(ask, running, trained), seeds):
                statuses += counted
    assert set(statuses) <= {200, 400}
    assert statuses[200]
    assert statuses[400]
    asked = campaign.played * CONNECTIONS * PAIRS
    print(f"{asked} spoilt requests among as many plain ones: {sorted(statuses.items())}")


def ask(running: Service, trained: Trained, seed: int) -> Counter[int]:
    """Ask on one connection; the statuses of what was spoilt."""
    choose = random.Random(seed)
    connection = Connection(running.address)
    statuses: Counter[int] = Counter()
    for _ in range(PAIRS):
        number = choose.randrange(len(trained.bodies))
        path, body = choose.choice([plain_tensor(choose), ("/invocations", trained.bodies[number])])
        status, _ = connection.ask(path, spoilt.spoil(body, choose))
        statuses[status] += 1
        status, told = connection.ask("/invocations", trained.bodies[number])
        assert status == 200, told
        assert json.loads(told)["predictions"] == [trained.answers[number]]
    connection.close()
    return statuses


def plain_tensor(choose: random.Random) -> tuple[str, bytes]:
    """A request with a few rows in one tensor."""
    rows = choose.randint(1, 3)
    values = [round(choose.uniform(-9, 9), choose.randint(0, 17)) for _ in range(4 * rows)]
    tensor = {"name": "x", "shape": [rows, 4], "datatype": "FP64", "data": values}
    return spoilt.INFER, json.dumps({"inputs": [tensor]}).encode()
