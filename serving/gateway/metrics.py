"""Counters of one gateway, in Prometheus' text format. Names follow Triton's `nv_inference_*`.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

_HELP = {
    "request_success_total": "Requests answered with a prediction",
    "request_failure_total": "Requests answered with an error, by HTTP status",
    "client_request_total": "Requests admitted, by the name of their token",
    "count_total": "Rows predicted",
    "exec_count_total": "Batches predicted",
    "request_duration_us_total": "Time from admission to the answer, summed over requests",
    "queue_duration_us_total": "Time from admission to the first batch, summed over requests",
    "compute_infer_duration_us_total": "Time that workers spent predicting, summed over batches",
    "worker_death_total": "Links that ended while their generation was in use",
    "reload_total": "Reloads, by result",
    "pending_request_count": "Requests that wait or are being computed",
    "pending_row_count": "Rows that wait for a worker",
    "ready": "1 if the model can answer",
}
_GAUGES = ("pending_request_count", "pending_row_count", "ready")

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters by name and labels, and gauges read at the moment of a scrape."""

    def __init__(self) -> None:
        self._values: dict[str, dict[Labels, float]] = {name: {} for name in _HELP}
        self._gauges: list[Callable[[], Mapping[str, tuple[Labels, float]]]] = []

    def add(self, name: str, value: float, labels: Labels) -> None:
        """Add to a counter."""
        series = self._values[name]
        series[labels] = series.get(labels, 0.0) + value

    def value(self, name: str, labels: Labels) -> float:
        """What a counter has come to."""
        return self._values[name].get(labels, 0.0)

    def watch(self, gauges: Callable[[], Mapping[str, tuple[Labels, float]]]) -> None:
        """Ask `gauges` for name -> (labels, value) at each scrape."""
        self._gauges.append(gauges)

    def render(self) -> str:
        """The text of `GET /metrics`."""
        current: dict[str, dict[Labels, float]] = defaultdict(dict)
        for gauges in self._gauges:
            for name, (labels, value) in gauges().items():
                current[name][labels] = value
        return "".join(self._lines({**self._values, **current}))

    @staticmethod
    def _lines(values: Mapping[str, Mapping[Labels, float]]) -> Iterator[str]:
        for name, text in _HELP.items():
            full = f"penstock_inference_{name}"
            kind = "gauge" if name in _GAUGES else "counter"
            yield f"# HELP {full} {text}\n# TYPE {full} {kind}\n"
            for labels, value in values[name].items():
                pairs = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels)
                yield f"{full}{{{pairs}}} {value:.17g}\n"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
