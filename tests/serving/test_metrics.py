"""Metrics: what Prometheus reads, who counts it, and that no count is lost with its process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from serving.exposition import BY_NAME, FAMILIES, Values, names, render
from serving.gateway.metrics import Metrics
from serving.ledger import KEPT_VERSIONS, Ledger
from tests.repository import tree
from tests.serving.conftest import ROWS, Trained
from tests.serving.rig import Publisher, Service, eventually

Run = Callable[..., Any]
V1 = (("model", "m"), ("version", "v1"))


def read(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample, as Prometheus' own parser reads it."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(service: Service, name: str, **labels: str) -> float:
    """The sum of the samples of a metric that carry these labels."""
    samples = read(service.get("/metrics").text)
    return sum(
        value
        for (found, pairs), value in samples.items()
        if found == f"penstock_{name}" and labels.items() <= dict(pairs).items()
    )


labels = st.lists(
    st.tuples(st.sampled_from(["model", "version", "client"]), st.text(max_size=8)),
    unique_by=lambda pair: pair[0],
).map(tuple)


@st.composite
def values(draw: st.DrawFn) -> Values:
    found: Values = {}
    for family in draw(st.lists(st.sampled_from(FAMILIES), max_size=6)):
        numbers = [float(draw(st.integers(0, 1000))) for _ in (*family.bounds, 0)]
        if family.kind == "histogram":
            numbers.append(draw(st.floats(0, 1e9)))
        found[family.name, draw(labels)] = numbers
    return found


@given(values())
def test_what_is_written_is_what_prometheus_reads(given_values: Values) -> None:
    samples = read(render(given_values))
    for (name, pairs), numbers in given_values.items():
        family, sorted_pairs = BY_NAME[name], tuple(sorted(pairs))
        full = family.prefix + name
        if family.kind == "histogram":
            assert samples[f"{full}_count", sorted_pairs] == sum(numbers[:-1])
            assert samples[f"{full}_sum", sorted_pairs] == numbers[-1]
            infinite = tuple(sorted((*pairs, ("le", "+Inf"))))
            assert samples[f"{full}_bucket", infinite] == sum(numbers[:-1])
        else:
            assert samples[full, sorted_pairs] == numbers[0]


def test_a_name_that_is_not_declared_cannot_be_counted() -> None:
    with pytest.raises(KeyError):
        Metrics().add("mistyped_total", 1, ())


def test_an_observation_lands_in_the_bucket_that_holds_it() -> None:
    metrics = Metrics()
    for rows in (1, 2, 3, 5000):
        metrics.tally(V1).rows.observe(rows)
    samples = read(render(metrics.values()))
    name = "penstock_inference_batch_rows_bucket"
    counts = [samples[name, (("le", le), *V1)] for le in ("1.0", "2.0", "4.0", "1024.0", "+Inf")]
    assert counts == [1, 2, 3, 3, 4]
    assert samples["penstock_inference_count_total", V1] == 5006


def test_the_counts_of_a_dead_gateway_stay_and_its_gauges_go() -> None:
    ledger = Ledger()
    count, gauge = ("request_failure_total", (("status", "400"),)), ("pending_row_count", V1)
    ledger.report(1, {count: [5.0], gauge: [7.0]})
    ledger.report(2, {count: [2.0], gauge: [1.0]})
    ledger.report(1, {count: [6.0]})
    assert ledger.values() == {count: [8.0], gauge: [8.0]}
    ledger.end(1)
    assert ledger.values() == {count: [8.0], gauge: [1.0]}
    ledger.report(3, {count: [1.0]})
    assert ledger.values()[count] == [9.0]


def test_a_model_is_ready_when_every_gateway_can_answer() -> None:
    ledger, ready = Ledger(), ("ready", (("model", "m"),))
    ledger.report(1, {ready: [1.0]})
    ledger.report(2, {ready: [0.0]})
    assert ledger.values()[ready] == [0.0]


def test_a_version_that_comes_back_is_counted_on() -> None:
    ledger, gateway = Ledger(), Metrics()
    gateway.tally(V1).rows.observe(3)
    ledger.report(1, gateway.values())
    ledger.settle(1, gateway.forget(V1))
    gateway.tally(V1).rows.observe(4)
    ledger.report(1, gateway.values())
    assert ledger.values()["batch_rows", V1][-1] == 7


def test_the_versions_of_a_long_life_do_not_pile_up() -> None:
    ledger, gateway = Ledger(), Metrics()
    for number in range(KEPT_VERSIONS * 3):
        pairs = (("model", "m"), ("version", f"v{number}"))
        gateway.tally(pairs).rows.observe(1)
        ledger.report(1, gateway.values())
        ledger.settle(1, gateway.forget(pairs))
    kept = {dict(pairs)["version"] for _, pairs in ledger.values()}
    assert len(kept) == KEPT_VERSIONS
    assert f"v{KEPT_VERSIONS * 3 - 1}" in kept


def test_counts_outlive_the_gateway_that_made_them(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run() as service:
        for _ in range(3):
            service.post("/invocations", {"dataframe_records": ROWS})
        service.post("/invocations", {"dataframe_records": []})
        assert total(service, "inference_request_success_total", model="flights") == 3
        (gateway,) = service.processes("pen:gateway")
        os.kill(gateway, signal.SIGKILL)
        eventually("another gateway", lambda: service.ready)
        service.post("/invocations", {"dataframe_records": ROWS})
        assert total(service, "inference_request_success_total", model="flights") == 4
        assert total(service, "inference_count_total") == 4 * len(ROWS)
        assert total(service, "inference_request_failure_total", status="400") == 1
        assert total(service, "process_death_total", role="gateway") == 1
        assert total(service, "processes", role="gateway") == 1


def test_what_the_supervisor_knows_is_there(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run(serving_workers=2) as service:
        publisher.publish("flights", bundles["lightgbm-2"].folder)
        service.wait_for(2)
        eventually(
            "the old workers' end",
            lambda: total(service, "processes", role="worker", model="flights") == 2,
        )
        assert total(service, "process_start_total", role="worker", model="flights") == 4
        assert total(service, "process_death_total") == 0
        assert total(service, "inference_reload_total", result="active") == 2
        for stage, times in {"fetch": 2, "load": 4, "warm": 4, "golden": 4, "flip": 2}.items():
            count = total(service, "reload_stage_duration_seconds_count", stage=stage)
            assert count == times, stage
        assert total(service, "generation_info", alias="champion", revision="2") == 1
        for role in ("supervisor", "forkserver", "gateway", "worker"):
            assert total(service, "process_resident_memory_bytes", role=role) > 1e6
        os.kill(service.processes("pen:flights")[0], signal.SIGKILL)
        eventually(
            "a new worker", lambda: total(service, "process_start_total", role="worker") == 5
        )
        assert total(service, "process_death_total", role="worker") == 1


def test_a_supervisor_that_does_not_answer_holds_up_the_scrape_alone(
    publisher: Publisher, bundles: dict[str, Trained], run: Run
) -> None:
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with run() as service:
        os.kill(service.process.pid, signal.SIGSTOP)
        try:
            answer = service.get("/metrics")
            asked = service.post("/invocations", {"dataframe_records": ROWS})
        finally:
            os.kill(service.process.pid, signal.SIGCONT)
        assert (answer.status_code, asked.status_code) == (503, 200)
        eventually("a scrape", lambda: service.get("/metrics").status_code == 200)


def test_every_metric_is_documented() -> None:
    page = (tree.ROOT / "docs/serving.md").read_text()
    missing = [
        name for name in names()
        if f"`{name.removeprefix('penstock_inference_')}`" not in page and f"`{name}`" not in page
    ]  # fmt: skip
    assert not missing
