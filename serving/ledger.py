"""The ledger: what the gateways and the supervisor counted, as one service.

A gateway reports what it has counted since it started. When it ends, its last report stays in the
sums, so a counter never goes back because a process died.
"""

from __future__ import annotations

from collections.abc import Iterable

from serving.exposition import BY_NAME, Key, Values
from serving.gateway.metrics import Metrics

#: Versions of one model whose counts are kept: a service that reloads for months has many.
KEPT_VERSIONS = 20


class Ledger:
    """Sums over gateways. `own` is what the supervisor counts itself."""

    def __init__(self) -> None:
        self.own = Metrics()
        self._settled: Values = {}
        self._running: dict[int, Values] = {}
        self._versions: dict[str, dict[str, None]] = {}

    def report(self, gateway: int, values: Values) -> None:
        """A gateway says what it has counted; series that it leaves out are as they were."""
        self._running.setdefault(gateway, {}).update(values)
        self._see(values)

    def settle(self, gateway: int, values: Values) -> None:
        """A gateway's last word on these series: it begins them anew, should they come back."""
        running = self._running.setdefault(gateway, {})
        for key, numbers in values.items():
            running.pop(key, None)
            self._settle(key, numbers)
        self._see(values)

    def end(self, gateway: int) -> None:
        """A gateway is gone: its counts stay, its gauges go."""
        for key, numbers in self._running.pop(gateway, {}).items():
            if BY_NAME[key[0]].kind != "gauge":
                self._settle(key, numbers)

    def values(self) -> Values:
        """The sums, with the supervisor's own."""
        found = {key: list(numbers) for key, numbers in self._settled.items()}
        for values in (*self._running.values(), self.own.values()):
            for key, numbers in values.items():
                found[key] = _together(key, found.get(key), numbers)
        return found

    def _settle(self, key: Key, numbers: list[float]) -> None:
        self._settled[key] = _together(key, self._settled.get(key), numbers)

    def _see(self, keys: Iterable[Key]) -> None:
        """Let go of versions that have not been heard of for long."""
        for _, labels in keys:
            about = dict(labels)
            if "version" not in about:
                continue
            model, version = about.get("model", ""), about["version"]
            seen = self._versions.setdefault(model, {})
            seen.pop(version, None)
            seen[version] = None
            if len(seen) > KEPT_VERSIONS:
                self._drop(model, next(iter(seen)))

    def _drop(self, model: str, version: str) -> None:
        del self._versions[model][version]
        gone = {("model", model), ("version", version)}
        for key in [key for key in self._settled if gone <= set(key[1])]:
            del self._settled[key]


def _together(key: Key, before: list[float] | None, numbers: list[float]) -> list[float]:
    if before is None:
        return list(numbers)
    if BY_NAME[key[0]].together == "least":
        return [min(pair) for pair in zip(before, numbers, strict=True)]
    return [sum(pair) for pair in zip(before, numbers, strict=True)]
