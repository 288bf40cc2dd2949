"""Whoever listens for errors hears of steps that failed."""

from __future__ import annotations

import pytest

from pipelines.errors import RunFailed
from pipelines.runners.machine import Script
from registry.reports import Event, reports
from tests.pipelines.small import World


def test_a_step_that_fails_is_told_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Event] = []
    monkeypatch.setattr(reports, "sink", kept.append)
    world.run()
    assert kept == []
    failing = Script(exit_code=65, log=b"bad-data: a column is missing\n")
    with pytest.raises(RunFailed):
        world.run(changes={"lightgbm": {"leaves": 5}}, script=lambda _: failing)
    (event,) = kept
    assert event["logentry"]["formatted"] == "train small 2020-01-10 lightgbm leaves=5 failed"
    assert event["tags"]["kind"] == "bad-data"
    assert event["tags"]["run"]
    assert "a column is missing" in event["exception"]["values"][-1]["value"]
