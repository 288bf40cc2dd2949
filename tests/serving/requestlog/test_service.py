"""The request log of a whole service: what is in it, and that nothing it meets hurts a request."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import penstock
from penstock.replay import replay
from registry import requestlog as names
from serving.loadclient import Load
from tests.serving.conftest import BODIES, ROWS, Trained
from tests.serving.rig import Publisher, Service, eventually
from tests.serving.rpc.conftest import client_of
from tests.serving.rpc.test_clients import inputs

Run = Callable[..., Any]
WRITER = "pen:requests"


def log_of(publisher: Publisher) -> Path:
    return Path(publisher.environment["PENSTOCK_VAR"]) / "requests"


def table_of(folder: Path) -> pa.Table:
    """All rows of a log, of whatever version, in the order of requests."""
    tables = [pq.read_table(path) for path in names.log_files(folder)]
    table = pa.concat_tables(tables, promote_options="permissive")
    return table.sort_by(
        [(names.TIME, "ascending"), (names.REQUEST, "ascending"), (names.ROW, "ascending")]
    )


def metric(service: Service, name: str) -> float:
    """The sum of a counter over its labels."""
    found = re.findall(
        rf"^penstock_{name}{{.*}} (\S+)$", service.get("/metrics").text, re.MULTILINE
    )
    return sum(map(float, found))


def test_every_way_of_asking_is_logged_as_it_was_asked_and_answered(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    reference = publisher.publish("flights", bundles["lightgbm-1"].folder)
    answers = bundles["lightgbm-1"].answers
    odd = {"distance": None, "hour": 3, "carrier": "never seen"}
    with run(serving_request_log=1, serving_grpc_port=0, serving_gateways=2) as service:
        for number, row in enumerate(ROWS):
            asked = service.client.post(
                f"{service.url}/invocations",
                json={"dataframe_records": [row]},
                headers={"x-request-id": f"json-{number:02d}"},
            )
            assert asked.status_code == 200
        split = {
            "dataframe_split": {"columns": list(ROWS[0]), "data": [[*r.values()] for r in ROWS]}
        }
        many = service.post("/invocations", split)
        last = service.post("/invocations", {"dataframe_records": [odd]})
        service.post("/invocations", {"dataframe_records": [{"wrong": 1}]})  # is not admitted
        with client_of(service) as client:
            client.infer("flights", inputs(), headers={"x-request-id": "grpc-1"})
        version = last.headers["x-model-version"]
    table = table_of(log_of(publisher))
    assert [path.parent.name for path in names.log_files(log_of(publisher))] == [version]
    rows = {(row[names.REQUEST], row[names.ROW]): row for row in table.to_pylist()}
    assert len(rows) == len(table) == 16 + 16 + 1 + 16
    many_id = many.headers["x-request-id"]
    for number, (row, answer) in enumerate(zip(ROWS, answers, strict=True)):
        for key in ((f"json-{number:02d}", 0), (many_id, number), ("grpc-1", number)):
            logged = rows[key]
            assert {name: logged[name] for name in row} == row
            assert logged["output.probability"] == answer
            assert (logged[names.STATUS], logged[names.REVISION]) == (200, 1)
            assert (logged[names.MODEL], logged[names.VERSION]) == ("flights", version)
            assert 0 < logged[names.LATENCY] < 60_000
    logged = rows[last.headers["x-request-id"], 0]
    assert {name: logged[name] for name in odd} == odd
    where: dict[str, Any] = {
        "store": publisher.environment["PENSTOCK_STORE"],
        "environment": "dev/test",
    }
    with penstock.load(reference.key, **where) as model:
        told = replay(log_of(publisher), model)
    assert (told.rows, told.changed) == (49, 0)


def test_files_come_while_it_serves_and_each_version_has_its_own(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    settings = {"serving_request_log_file_seconds": 0.2, "serving_request_log_omit": "hour"}
    with run(serving_request_log=1, **settings) as service:
        service.revision()
        first = eventually("a file", lambda: names.log_files(log_of(publisher)))
        assert "hour" not in pq.read_schema(first[0]).names
        publisher.publish("flights", bundles["catboost-4"].folder)
        service.wait_for(2)
        eventually(
            "a file of another",
            lambda: len({p.parent for p in names.log_files(log_of(publisher))}) == 2,
        )
        eventually("the count", lambda: metric(service, "request_log_rows_total") >= 2)
        assert metric(service, "request_log_dropped_total") == 0


@pytest.mark.parametrize("share", [0, 0.25])
def test_a_share_is_logged(
    publisher: Publisher, bundles: dict[str, Trained], run: Run, share: float
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run(serving_request_log=share) as service:
        for _ in range(400):
            service.client.post(f"{service.url}/invocations", content=BODIES[0])
        assert len(service.processes(WRITER)) == (share > 0)
    if share:
        assert 50 < len(table_of(log_of(publisher))) < 160
    else:
        assert not log_of(publisher).exists()


def test_a_writer_that_is_killed_costs_what_it_held_and_no_request(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with (
        run(serving_request_log=1, serving_request_log_file_seconds=0.1) as service,
        Load(service.address, BODIES, connections=4) as load,
    ):
        for _ in range(5):
            load.wait(200)
            (pid,) = eventually("a writer", lambda: service.processes(WRITER))
            os.kill(pid, signal.SIGKILL)
            eventually("another", partial(another, service, pid))
        before = len(names.log_files(log_of(publisher)))
        eventually("more files", lambda: len(names.log_files(log_of(publisher))) > before + 1)
        assert service.log.count("request log interrupted") == 5
    assert load.report.failed == []
    table = table_of(log_of(publisher))
    assert 0 < len(table) <= len(load.report.notes)
    # What is there is right, whole requests of one row.
    expected = dict(zip(range(16), bundles["lightgbm-1"].answers, strict=True))
    index = {tuple(row.values()): number for number, row in enumerate(ROWS)}
    for row in table.to_pylist():
        number = index[tuple(row[name] for name in ROWS[0])]
        assert row["output.probability"] == expected[number]
    assert list(log_of(publisher).rglob(".*.parquet")) == []


def another(service: Service, pid: int) -> bool:
    """Whether a writer runs that is not `pid`."""
    return bool(set(service.processes(WRITER)) - {pid})


def state_of(pid: int) -> str:
    """As the kernel names it; T: stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_writer_that_hangs_holds_up_nobody_and_what_is_lost_is_counted(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run(serving_request_log=1, serving_request_log_file_seconds=0.1) as service:
        (pid,) = service.processes(WRITER)
        big = {"dataframe_records": ROWS * 250}
        with stopped(pid):
            for _ in range(100):  # of some 150 kB each: the queue holds 8 MiB at most
                assert service.post("/invocations", big).status_code == 200
            # It could not have taken a thing meanwhile: nobody waited for it.
            assert state_of(pid) == "T"
            eventually("losses", lambda: metric(service, "request_log_dropped_total") > 0)
        written = len(names.log_files(log_of(publisher)))

        def written_again() -> bool:
            service.post("/invocations", {"dataframe_records": ROWS[:1]})
            return len(names.log_files(log_of(publisher))) > written

        eventually("files again", written_again)
        assert service.ready


def test_a_gateway_that_dies_logs_on_when_it_is_replaced(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run(serving_request_log=1) as service:
        (pid,) = service.processes("pen:gateway")
        os.kill(pid, signal.SIGKILL)
        eventually("another", lambda: set(service.processes("pen:gateway")) - {pid})
        eventually("its answer", lambda: service.revision() == 1)
    assert len(table_of(log_of(publisher))) >= 1
