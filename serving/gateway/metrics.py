"""What one gateway counts. The supervisor adds up those of all gateways, dead ones too.

A request observes two histograms and a batch three, through a `Tally` that its generation holds;
everything else is counted by name.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any

from serving.exposition import BY_NAME, Key, Labels, Values


class Histogram:
    """Observations by bucket, and their sum."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, name: str) -> None:
        self._bounds = BY_NAME[name].bounds
        self.counts = [0.0] * (len(self._bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count one value, or the same value several times."""
        self.counts[bisect_left(self._bounds, value)] += times
        self.sum += value * times

    @property
    def count(self) -> int:
        """How many values were observed."""
        return int(sum(self.counts))

    def values(self) -> list[float]:
        """See `serving.exposition.Values`."""
        return [*self.counts, self.sum]


class Tally:
    """The histograms of one version of a model."""

    __slots__ = ("_stages", "compute", "inline", "link", "queue", "request", "rows")

    def __init__(self) -> None:
        self.request = Histogram("request_duration_seconds")
        self.queue = Histogram("queue_duration_seconds")
        self.compute = Histogram("compute_infer_duration_seconds")
        self.link = Histogram("link_duration_seconds")
        self.rows = Histogram("batch_rows")
        #: Batches that this gateway predicted itself.
        self.inline = 0
        self._stages: dict[str, Histogram] = {}

    def stage(self, place: str) -> Histogram:
        """That of the stage before or after the model."""
        return self._stages.setdefault(place, Histogram("stage_duration_seconds"))

    def values(self, labels: Labels) -> Values:
        """Its series."""
        stages = {
            ("stage_duration_seconds", (*labels, ("stage", place))): histogram.values()
            for place, histogram in self._stages.items()
        }
        return stages | {
            ("request_duration_seconds", labels): self.request.values(),
            ("queue_duration_seconds", labels): self.queue.values(),
            ("compute_infer_duration_seconds", labels): self.compute.values(),
            ("link_duration_seconds", labels): self.link.values(),
            ("batch_rows", labels): self.rows.values(),
            ("inline_exec_count_total", labels): [float(self.inline)],
        }


class Metrics:
    """Counters and histograms by name and labels, and gauges read when they are asked for."""

    def __init__(self) -> None:
        self._counters: dict[Key, float] = {}
        self._histograms: dict[Key, Histogram] = {}
        self._tallies: dict[Labels, Tally] = {}
        self._gauges: list[Callable[[], Mapping[str, tuple[Labels, Any]]]] = []

    def add(self, name: str, value: float, labels: Labels) -> None:
        """Add to a counter. Raises KeyError for a name that `serving.exposition` does not have."""
        key = (name, labels)
        if key not in self._counters:
            self._counters[BY_NAME[name].name, labels] = 0.0
        self._counters[key] += value

    def observe(self, name: str, value: float, labels: Labels) -> None:
        """Add an observation to a histogram."""
        key = (name, labels)
        if key not in self._histograms:
            self._histograms[key] = Histogram(name)
        self._histograms[key].observe(value)

    def tally(self, labels: Labels) -> Tally:
        """The tally of the version that `labels` name."""
        return self._tallies.setdefault(labels, Tally())

    def forget(self, labels: Labels) -> Values:
        """Count no longer what `labels` name; returns what was counted."""
        tally = self._tallies.pop(labels, None)
        return tally.values(labels) if tally is not None else {}

    def watch(self, gauges: Callable[[], Mapping[str, tuple[Labels, Any]]]) -> None:
        """Ask `gauges` for name -> (labels, value) each time."""
        self._gauges.append(gauges)

    def values(self) -> Values:
        """Everything as it is now."""
        found: Values = {key: [value] for key, value in self._counters.items()}
        found |= {key: histogram.values() for key, histogram in self._histograms.items()}
        for labels, tally in self._tallies.items():
            found |= tally.values(labels)
        for gauges in self._gauges:
            found |= {(name, labels): [float(value)] for name, (labels, value) in gauges().items()}
        return found
