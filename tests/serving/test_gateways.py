"""Several gateways on one port: the death of one, and a reload that all of them must take."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from serving.gateway.served import Served
from serving.loadclient import Load
from serving.messages import Announce
from tests.serving import models
from tests.serving.conftest import BODIES, Trained
from tests.serving.rig import Publisher, Service, eventually

Run = Callable[..., Any]
CONNECTIONS = 16
ESTABLISHED = "01"


def port_of(service: Service) -> int:
    return int(service.address.rpartition(":")[2])


def connections(service: Service, pid: int) -> int:
    """How many connections of clients the gateway `pid` has."""
    port = f":{port_of(service):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = {row[9] for row in rows if row[1].endswith(port) and row[3] == ESTABLISHED}
    held = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            held.add(str(link.readlink()).removeprefix("socket:[").rstrip("]"))
    return len(ours & held)


def gateways(service: Service) -> list[int]:
    found = service.processes("pen:gateway")
    return found if len(found) == 2 else []


def test_the_death_of_one_gateway_breaks_its_own_connections_only(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run(serving_gateways=2) as service:
        pids = eventually("two gateways", lambda: gateways(service))
        with Load(service.address, BODIES, connections=CONNECTIONS) as load:
            load.wait(200)
            counts = [connections(service, pid) for pid in pids]
            assert sum(counts) >= CONNECTIONS
            assert all(counts), "the kernel shares connections out"
            os.kill(pids[0], signal.SIGKILL)
            eventually("another", lambda: len(set(gateways(service)) - set(pids)) == 1)
            load.wait(200)
            with contextlib.ExitStack() as more:

                def shares() -> bool:
                    # The other one may have been quicker with all that came so far.
                    more.enter_context(socket.create_connection(("127.0.0.1", port_of(service))))
                    return all(connections(service, pid) for pid in gateways(service))

                eventually("its share", shares)
    broken = [note.connection for note in load.report.failed]
    assert {note.status for note in load.report.failed} == {0}
    assert len(broken) == len(set(broken)) <= counts[0]
    for note in load.report.notes:
        if note.status == 200:
            assert note.body["predictions"] == [bundles["lightgbm-1"].answers[note.request]]


def test_a_reload_is_done_when_every_gateway_has_taken_it(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run(serving_gateways=2) as service:
        pids = eventually("two gateways", lambda: gateways(service))
        with Load(service.address, BODIES, connections=CONNECTIONS) as load:
            for revision, name in enumerate(["lightgbm-2", "lightgbm-3", "lightgbm-1"], start=2):
                load.wait(50)
                publisher.publish("flights", bundles[name].folder)
                eventually("the flip", partial(is_active, service, revision))
                # From here on no gateway answers with what was before.
                mark = len(load.report.notes) + CONNECTIONS
                load.wait(10 * CONNECTIONS)
                assert {n.revision for n in load.report.notes[mark:]} == {revision}
            assert all(connections(service, pid) for pid in pids)
    assert load.report.failed == []
    for connection in range(CONNECTIONS):
        assert load.report.revisions(connection) == [1, 2, 3, 4]


def is_active(service: Service, revision: int) -> bool:
    """Whether the log says that this revision is active: every gateway has flipped."""
    lines = [line for line in service.log.splitlines() if '"state": "active"' in line]
    return f'"revision": {revision}' in lines[-1]


@pytest.mark.parametrize(("share", "first"), [(0.0, [1, 2, 3, 4]), (0.5, [3, 4, 1, 2])])
def test_gateways_begin_with_different_workers(share: float, first: list[int]) -> None:
    announced = Announce("flights", 1, "champion", 1, "ab", "", 0.0, "tester")
    served = Served(announced, models.SIGNATURE, share)
    for worker in (2, 1, 3, 4):
        served.join(worker, object())  # type: ignore[arg-type]
    assert list(served.links) == first
