"""What is measured, and how Prometheus reads it.

Names of inference follow Triton's `nv_inference_*`; where Triton has sums in microseconds and
Prometheus' own rules ask for histograms in seconds there are both, of the same observations.
Format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

Labels = tuple[tuple[str, str], ...]
#: A series: the name of its family, and its labels. A value of a counter or gauge is [number]; that
#: of a histogram [observations in each bucket…, above all of them, sum].
Key = tuple[str, Labels]
Values = dict[Key, list[float]]

INFERENCE = "penstock_inference_"
SECONDS = (
    1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3,
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
)  # fmt: skip
#: A reload takes longer than a request.
LONG_SECONDS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


@dataclass(frozen=True)
class Family:
    """One metric. `together` says how the gauges of several gateways become one."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    bounds: tuple[float, ...] = ()
    together: Literal["sum", "least"] = "sum"
    prefix: str = INFERENCE


@dataclass(frozen=True)
class Derived:
    """A counter that a histogram already holds: its sum, or how often it was observed."""

    name: str
    help: str
    histogram: str
    of: Literal["sum", "count"]
    scale: float = 1.0


def _of_service(name: str, kind: Literal["counter", "gauge", "histogram"], text: str) -> Family:
    bounds = LONG_SECONDS if kind == "histogram" else ()
    return Family(name, kind, text, bounds, prefix="penstock_")


FAMILIES: tuple[Family, ...] = (
    # counted by gateways
    Family("request_failure_total", "counter", "Requests answered with an error, by HTTP status"),
    Family("client_request_total", "counter", "Requests admitted, by the name of their token"),
    Family(
        "request_duration_seconds", "histogram", "Time from admission to the answer", SECONDS
    ),
    Family(
        "queue_duration_seconds", "histogram", "Time from admission to the first batch", SECONDS
    ),
    Family(
        "compute_infer_duration_seconds", "histogram", "Time of the model for a batch", SECONDS
    ),
    Family(
        "link_duration_seconds",
        "histogram",
        "Time that handing a batch to an idle worker and back took, without its compute",
        SECONDS,
    ),
    Family(
        "stage_duration_seconds", "histogram", "Time of a stage process for a batch", SECONDS
    ),
    Family("batch_rows", "histogram", "Rows of a batch", ROWS),
    Family("inline_exec_count_total", "counter", "Batches that gateways predicted themselves"),
    Family("log_dropped_total", "counter", "Lines of the access log that nobody took", prefix="penstock_"),
    Family(
        "request_log_dropped_total",
        "counter",
        "Pieces of requests that the request log lost, by reason",
        prefix="penstock_",
    ),
    Family("request_log_rows_total", "counter", "Rows in files of the request log", prefix="penstock_"),
    Family("pending_request_count", "gauge", "Requests that wait or are being computed"),
    Family("pending_row_count", "gauge", "Rows that wait for a worker"),
    Family("payload_bytes", "gauge", "Bytes of payloads that gateways hold", prefix="penstock_"),
    Family("ready", "gauge", "1 if the model can answer, at every gateway", together="least"),
    # known to the supervisor
    Family("reload_total", "counter", "Reloads, by result; models that were rolled back"),
    _of_service("reload_stage_duration_seconds", "histogram", "Time of each stage of a reload"),
    _of_service("generation_info", "gauge", "1 for what is live: model, alias, revision, version"),
    _of_service("generation_start_time_seconds", "gauge", "When it went live, as a Unix time"),
    _of_service("processes", "gauge", "Processes that run, by role"),
    _of_service("process_start_total", "counter", "Processes started, by role"),
    _of_service("process_death_total", "counter", "Processes that ended without being asked to"),
    _of_service(
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory, summed over the processes of a role; shared pages count in each",
    ),
    _of_service("clients", "gauge", "Clients whose tokens are known"),
    _of_service("build_info", "gauge", "1, with the version of penstock"),
)  # fmt: skip

DERIVED: tuple[Derived, ...] = (
    Derived(
        "request_success_total", "Requests answered with a prediction",
        "request_duration_seconds", "count",
    ),
    Derived(
        "request_duration_us_total", "Time from admission to the answer, summed over requests",
        "request_duration_seconds", "sum", 1e6,
    ),
    Derived(
        "queue_duration_us_total", "Time from admission to the first batch, summed over requests",
        "queue_duration_seconds", "sum", 1e6,
    ),
    Derived("count_total", "Rows predicted", "batch_rows", "sum"),
    Derived("exec_count_total", "Batches predicted", "batch_rows", "count"),
    Derived(
        "compute_infer_duration_us_total",
        "Time spent predicting, summed over batches",
        "compute_infer_duration_seconds", "sum", 1e6,
    ),
)  # fmt: skip

BY_NAME: Mapping[str, Family] = {family.name: family for family in FAMILIES}


def names() -> list[str]:
    """The full name of every metric."""
    return [f.prefix + f.name for f in FAMILIES] + [INFERENCE + d.name for d in DERIVED]


def render(values: Mapping[Key, Sequence[float]]) -> str:
    """The text that `GET /metrics` answers with."""
    series: dict[str, dict[Labels, Sequence[float]]] = {}
    for (name, labels), numbers in values.items():
        series.setdefault(name, {})[labels] = numbers
    return "".join(_lines(series))


def _lines(series: Mapping[str, Mapping[Labels, Sequence[float]]]) -> Iterator[str]:
    for family in FAMILIES:
        full = family.prefix + family.name
        yield f"# HELP {full} {family.help}\n# TYPE {full} {family.kind}\n"
        for labels, numbers in series.get(family.name, {}).items():
            if family.kind == "histogram":
                yield from _histogram(full, family.bounds, labels, numbers)
            else:
                yield _line(full, labels, numbers[0])
    for derived in DERIVED:
        full = INFERENCE + derived.name
        yield f"# HELP {full} {derived.help}\n# TYPE {full} counter\n"
        for labels, numbers in series.get(derived.histogram, {}).items():
            value = numbers[-1] if derived.of == "sum" else sum(numbers[:-1])
            yield _line(full, labels, value * derived.scale)


def _histogram(
    full: str, bounds: tuple[float, ...], labels: Labels, numbers: Sequence[float]
) -> Iterator[str]:
    *counts, total = numbers
    for bound, count in zip((*map(repr, bounds), "+Inf"), accumulate(counts), strict=True):
        yield _line(f"{full}_bucket", (*labels, ("le", bound)), count)
    yield _line(f"{full}_sum", labels, total)
    yield _line(f"{full}_count", labels, sum(counts))


def _line(name: str, labels: Labels, value: float) -> str:
    pairs = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels)
    return f"{name}{{{pairs}}} {value:.17g}\n"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
