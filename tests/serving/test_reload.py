"""Hot reload: whole services, real models, real load."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.artifacts.manifest import Reference
from serving.loadclient import Load, Report
from tests.serving.conftest import BODIES, Trained
from tests.serving.rig import Publisher, Service, alive, eventually

Run = Callable[..., Any]


def check_answers(report: Report, answers: dict[str, list[float]], connections: int) -> None:
    """Every answer is the one of the version that it names, and versions never go back."""
    assert [note for note in report.notes if note.status != 200] == []
    for note in report.notes:
        assert note.body["model_version"] == note.version
        assert note.body["predictions"] == [answers[note.version][note.request]]
    for connection in range(connections):
        revisions = report.revisions(connection)
        assert revisions == sorted(set(revisions))


def kill(*pids: int) -> None:
    """SIGKILL, and wait until each is gone."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    eventually("the death", lambda: not any(map(alive, pids)))


def version(reference: Reference) -> str:
    return reference.version[:16]


def publishing(
    publisher: Publisher, bundles: dict[str, Trained]
) -> tuple[Callable[[str], None], dict[str, list[float]]]:
    """What publishes a bundle by its name, and the answers of those that were, by version."""
    answers: dict[str, list[float]] = {}

    def publish(name: str) -> None:
        reference = publisher.commit("flights", bundles[name].folder)
        answers[version(reference)] = bundles[name].answers
        publisher.point("flights", reference)

    return publish, answers


def test_reload_under_load_loses_and_mixes_nothing(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publish, answers = publishing(publisher, bundles)
    publish("lightgbm-1")
    with run() as service, Load(service.address, BODIES, connections=4) as load:
        for revision, name in enumerate(("lightgbm-2", "catboost-4", "lightgbm-3"), start=2):
            load.wait(50)
            publish(name)
            service.wait_for(revision)
        load.wait(50)
    check_answers(load.report, answers, connections=4)
    assert len(load.report.versions) == 4


def test_rollback_is_a_new_revision_of_an_old_artifact(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    first = publisher.publish("flights", bundles["lightgbm-1"].folder)
    second = publisher.publish("flights", bundles["lightgbm-2"].folder)
    with run() as service:
        assert service.revision() == 2
        publisher.point("flights", first)
        service.wait_for(3)
        answer = service.post("/invocations", json.loads(BODIES[0]))
        assert answer.json()["model_version"] == version(first) != version(second)


def test_death_of_a_worker_under_load_fails_no_request(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    reference = publisher.publish("flights", bundles["lightgbm-1"].folder)
    answers = {version(reference): bundles["lightgbm-1"].answers}
    with run() as service, Load(service.address, BODIES, connections=8) as load:
        for _ in range(5):
            load.wait(30)
            kill(service.processes("pen:flights")[0])
            eventually("its replacement", lambda: len(service.processes("pen:flights")) == 2)
        load.wait(30)
    check_answers(load.report, answers, connections=8)


def test_death_of_every_worker_at_once_fails_no_request(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run() as service, Load(service.address, BODIES, connections=4) as load:
        load.wait(30)
        kill(*service.processes("pen:flights"))
        eventually("replacements", lambda: len(service.processes("pen:flights")) == 2)
        load.wait(30)
    assert load.report.failed == []


def test_dead_gateway_is_replaced_and_workers_stay(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run() as service:
        workers = service.processes("pen:flights")
        (gateway,) = service.processes("pen:gateway")
        kill(gateway)
        eventually("readiness", lambda: service.ready)
        assert service.revision() == 1
        assert service.processes("pen:flights") == workers
        publisher.publish("flights", bundles["lightgbm-2"].folder)
        service.wait_for(2)


def test_dead_forkserver_is_replaced(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run() as service:
        (forkserver,) = direct_children(service)
        kill(forkserver)
        publisher.publish("flights", bundles["lightgbm-2"].folder)
        service.wait_for(2)


def direct_children(service: Service) -> list[int]:
    pid = service.process.pid
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_death_of_the_supervisor_ends_everything(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run() as service:
        family = service.processes("")
        assert len(family) == 4
        service.process.kill()
        eventually("the end of all", lambda: not any(map(alive, family)))


def flip_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x01
    path.chmod(0o644)
    path.write_bytes(data)


def edit(path: Path, change: Callable[[Any], None]) -> None:
    """Change a bundle's file before it is committed."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def copied(source: Path, target: Path) -> Path:
    target.mkdir()
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def wrong_golden(content: Any) -> None:
    content["outputs"][0][0] = 0.123456789


def unknown_type(content: Any) -> None:
    content["inputs"][0]["type"] = "complex128"


@pytest.fixture
def spoiled(tmp_path: Path, bundles: dict[str, Trained]) -> Callable[[str], Path]:
    """Bundles that were committed faithfully but must not serve."""

    def make(fault: str) -> Path:
        folder = copied(bundles["lightgbm-2"].folder, tmp_path / fault)
        if fault == "golden":
            edit(folder / "golden.json", wrong_golden)
        elif fault == "signature":
            edit(folder / "signature.json", unknown_type)
        elif fault == "stages":
            edit(folder / "bundle.json", lambda content: content.update(stages={"tokenise": 1}))
        elif fault == "model":
            flip_byte(folder / "model.txt")
        elif fault == "missing":
            (folder / "golden.json").unlink()
        return folder

    return make


def test_bad_bundles_are_rejected_one_after_the_other(
    publisher: Publisher,
    bundles: dict[str, Trained],
    spoiled: Callable[[str], Path],
    run: Run,
) -> None:
    """Each is refused with its reason, readiness is never lost, and a good one comes through."""
    good = publisher.publish("flights", bundles["lightgbm-1"].folder)
    faults = {
        "golden": "golden rows",
        "signature": "complex128",
        "stages": "tokenise",
        "model": "damaged",
        "missing": "golden.json is not there",
    }
    with run() as service, Load(service.address, BODIES, connections=2, pause=0.005) as load:
        for revision, (fault, reason) in enumerate(faults.items(), start=2):
            publisher.publish("flights", spoiled(fault))
            service.wait_for_page(f"{revision}: rejected")
            assert reason in service.get("/").text
            assert service.ready
            assert service.revision() == 1
        damaged = publisher.commit("flights", bundles["lightgbm-3"].folder)
        flip_byte(publisher.stored(damaged, "model.txt"))
        publisher.point("flights", damaged)
        service.wait_for_page("7: rejected")
        publisher.point("flights", good)
        service.wait_for(8)
        assert 'result="rejected"} 6' in service.get("/metrics").text
    assert load.report.failed == []


def test_a_head_that_cannot_be_read_changes_nothing(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run() as service:
        publisher.head_path("flights").write_bytes(b"\xff{ not a head")
        eventually("the complaint", lambda: "head ignored" in service.log)
        assert service.revision() == 1
        publisher.head_path("flights").unlink()
        time.sleep(0.3)
        assert service.revision() == 1
        publisher.publish("flights", bundles["lightgbm-2"].folder)
        service.wait_for(2)


def test_starts_from_the_last_good_pointer(
    publisher: Publisher, bundles: dict[str, Trained], spoiled: Callable[[str], Path], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run():
        pass
    head = publisher.head_path("flights")
    head.write_bytes(b"not a head")
    with run() as service:
        assert service.revision() == 1
    publisher.publish("flights", spoiled("golden"))
    with run() as service:
        assert service.revision() == 1
        assert "falling back" in service.log


def test_waits_for_a_first_head(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    with run(wait=False) as service:
        eventually("life", lambda: service.get("/v2/health/live").status_code == 200)
        assert service.get("/v2/health/ready").status_code == 503
        assert service.get("/v2/models/flights/ready").status_code == 503
        answer = service.post("/invocations", json.loads(BODIES[0]))
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        publisher.publish("flights", bundles["lightgbm-1"].folder)
        eventually("readiness", lambda: service.ready)
        eventually("the line", lambda: "ready: http://127.0.0.1:" in service.log)
