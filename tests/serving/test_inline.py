"""Whole services whose gateway predicts few rows itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.models.forest.library import library
from serving.loadclient import Load
from tests.serving import models
from tests.serving.conftest import BODIES, ROWS, Trained
from tests.serving.moody import ENVIRONMENT
from tests.serving.rig import Publisher, Service, eventually, service
from tests.serving.test_metrics import total
from tests.serving.test_reload import check_answers, publishing

Run = Callable[..., Any]
MOST = 8
SEEDS = (11, 12, 13)

pytestmark = pytest.mark.skipif(library() is None, reason="built without a C compiler")


def inline(running: Service, **labels: str) -> float:
    """Batches that gateways predicted themselves."""
    return total(running, "inference_inline_exec_count_total", **labels)


def use(running: Service, path: str = "/invocations") -> float:
    """Ask until the gateway predicts itself."""

    def asked() -> float:
        assert running.post(path, json.loads(BODIES[0])).status_code == 200
        return inline(running)

    return float(eventually("inline scoring", asked))


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, list[Any]]]:
    """A service of several random models, and what each answers in this process."""
    folder = tmp_path_factory.mktemp("several")
    publisher, oracles = Publisher(folder), []
    for seed in SEEDS:
        bundle = models.train(folder / f"b{seed}", flavor="lightgbm", seed=seed)
        publisher.publish(f"m{seed}", bundle.folder)
        oracles.append(models.Oracle(bundle))
    names = [f"m{seed}" for seed in SEEDS]
    with service(publisher, folder / "service", *names, serving_inline_rows=MOST) as running:
        yield running, oracles


numbers = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.floats(-3, 3))
rows = st.fixed_dictionaries(
    {
        "distance": numbers,
        "hour": st.one_of(st.none(), st.integers(-(2**40), 2**40)),
        "carrier": st.sampled_from([*models.CARRIERS, None, "never seen"]),
    }
)


def ask(running: Service, model: str, asked: list[dict[str, Any]]) -> list[float]:
    """The first output of each row, as the protocol of tensors gives it."""
    inputs = [
        {
            "name": member.name,
            "shape": [len(asked)],
            "datatype": {"float64": "FP64", "int64": "INT64"}.get(member.type, "BYTES"),
            "data": [row[member.name] for row in asked],
        }
        for member in models.SIGNATURE.inputs
    ]
    answer = running.post(f"/v2/models/{model}/infer", {"inputs": inputs})
    assert answer.status_code == 200, answer.text
    data: list[float] = answer.json()["outputs"][0]["data"]
    return data


@given(st.sampled_from(range(len(SEEDS))), st.lists(rows, min_size=1, max_size=MOST))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_ways_give_the_same_bits(
    several: tuple[Service, list[Any]], which: int, asked: list[dict[str, Any]]
) -> None:
    running, oracles = several
    model = f"m{SEEDS[which]}"
    ask(running, model, asked)  # whoever it is that answers first
    before = inline(running, model=model)
    here = ask(running, model, asked)
    between = inline(running, model=model)
    many = (asked * (MOST + 1))[: MOST + len(asked)]
    elsewhere = ask(running, model, many)
    assert here == elsewhere[: len(asked)] == oracles[which].predict(asked)
    assert inline(running, model=model) == between
    # Not each single one: a machine that is held up makes the first spell look slow.
    assert between - before in (0, 1)


def test_most_of_it_was_predicted_here(several: tuple[Service, list[Any]]) -> None:
    running, _ = several
    before = inline(running)
    for _ in range(100):
        ask(running, "m11", ROWS[:1])
    assert inline(running) - before > 50
    assert total(running, "inference_exec_count_total") > inline(running)


def test_answers_name_who_made_them_while_models_change(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publish, answers = publishing(publisher, bundles)
    publish("lightgbm-1")
    names = ("lightgbm-2", "catboost-4", "lightgbm-3", "lightgbm-1")
    with (
        run(serving_inline_rows=MOST) as running,
        Load(running.address, BODIES, connections=2) as load,
    ):
        for revision, name in enumerate(names, start=2):
            load.wait(200)
            publish(name)
            running.wait_for(revision)
        load.wait(200)
        counted = {name: inline(running, version=name) for name in answers}
        successes = total(running, "inference_request_success_total")
    check_answers(load.report, answers, connections=2)
    assert len(answers) == len(names)
    # CatBoost's library never runs in a gateway.
    assert sorted(count > 0 for count in counted.values()) == [False, True, True, True]
    assert successes >= len(load.report.notes)


def test_a_gateway_without_an_image_leaves_all_to_workers(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    cache = Path(publisher.environment["PENSTOCK_VAR"]) / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "forest").write_text("in the way of a folder")
    with run(serving_inline_rows=MOST) as running:
        for body, answer in zip(BODIES, bundles["lightgbm-1"].answers, strict=True):
            assert running.post("/invocations", json.loads(body)).json()["predictions"] == [answer]
        assert inline(running) == 0
        assert running.log.count("a gateway leaves a model to its workers") == 1


def test_the_request_log_has_what_was_predicted_here(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    fine = {"serving_request_log": 1, "serving_request_log_file_seconds": 0.2}
    with run(serving_inline_rows=MOST, **fine) as running:
        use(running)
        asked = total(running, "inference_request_success_total")
        eventually("every row in a file", lambda: total(running, "request_log_rows_total") >= asked)


def test_nothing_is_predicted_here_where_that_is_off(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run(serving_inline_rows=0) as running:
        for body in BODIES:
            assert running.post("/invocations", json.loads(body)).status_code == 200
        assert inline(running) == 0


def test_a_crash_of_the_evaluator_costs_the_connections_of_its_gateway_and_nothing_else(
    publisher: Publisher, numbers: dict[str, Trained], run: Run, tmp_path: Path
) -> None:
    trained, wanted = numbers["lightgbm-1"], tmp_path / "crash"
    publisher.publish("flights", trained.folder)
    publisher.environment.update(ENVIRONMENT, INLINE_CRASH=str(wanted))
    with run(serving_inline_rows=MOST, serving_gateways=2) as running:
        running.example = models.row(models.NUMERIC, 1)
        before = {name: set(running.processes(name)) for name in ("pen:gateway", "pen:flights")}
        with Load(running.address, trained.bodies, connections=4) as load:
            load.wait(200)
            wanted.touch()
            eventually("the crash", lambda: not wanted.exists())
            eventually("another gateway", lambda: len(running.processes("pen:gateway")) == 2)
            load.wait(200)
        assert len(before["pen:gateway"] & set(running.processes("pen:gateway"))) == 1
        assert set(running.processes("pen:flights")) == before["pen:flights"]
    assert {note.status for note in load.report.failed} == {0}
    assert len(load.report.failed) <= 4
    for note in load.report.notes:
        if note.status == 200:
            assert note.body["predictions"] == [trained.answers[note.request]]
