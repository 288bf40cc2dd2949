"""Long-form tests: the same rounds, few in `make test`, as many as fit in `make campaign`.

```
@pytest.mark.campaign
def test_commit_survives_kill(campaign, tmp_path):
    for turn in campaign.rounds(short=10):
        point = turn.random.choice(POINTS)
        ...
```

A round draws everything from `round.random`, so seed and number repeat it. A failure prints the
line that does. A run with a budget ends with a table: rounds and failures of each campaign.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass(frozen=True)
class Round:
    """One repetition; all of its choices come from `random`."""

    number: int
    random: random.Random


@dataclass
class Campaign:
    """Seed and budget of one test, and the round it is in."""

    seed: int
    minutes: float | None = None
    only: int | None = None
    current: int | None = field(default=None, init=False)
    played: int = field(default=0, init=False)
    failed: bool = field(default=False, init=False)

    @property
    def long(self) -> bool:
        """Whether there is a time budget, rather than the short form's number of rounds."""
        return self.minutes is not None

    def rounds(self, short: int) -> Iterator[Round]:
        """Yield `short` rounds, or rounds until the budget is spent, at least `short` of them."""
        if self.only is not None:
            yield self._round(self.only)
            return
        end = time.monotonic() + 60 * (self.minutes or 0)
        number = 0
        while number < short or (self.long and time.monotonic() < end):
            yield self._round(number)
            number += 1

    def _round(self, number: int) -> Round:
        self.current = number
        self.played += 1
        # A string seeds the same generator in every process and release; a tuple's hash does not.
        return Round(number, random.Random(f"{self.seed}:{number}"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options that `make campaign` passes on."""
    group = parser.getgroup("penstock")
    group.addoption("--minutes", type=float, help="budget of all campaign tests together")
    group.addoption("--seed", type=int, help="seed of the campaign tests; drawn if not given")
    group.addoption("--round", type=int, help="run this round of a campaign test only")


def pytest_configure(config: pytest.Config) -> None:
    """Draw the seed once; workers of xdist get the same."""
    inherited = getattr(config, "workerinput", {}).get("penstock_seed")
    seed = config.getoption("--seed")
    config.stash[_SEED] = next(
        value for value in (inherited, seed, secrets.randbits(31)) if value is not None
    )


def pytest_configure_node(node: Any) -> None:
    """Hand the seed to a worker of xdist."""
    node.workerinput["penstock_seed"] = node.config.stash[_SEED]


def pytest_report_header(config: pytest.Config) -> str:
    """Print the seed, so that any run can be repeated."""
    return f"campaign: seed {config.stash[_SEED]}"


@pytest.hookimpl(trylast=True)  # after -k and -m took some away: those that are left share
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Count the campaign tests, which share the budget evenly."""
    config.stash[_COUNT] = sum(1 for item in items if item.get_closest_marker("campaign"))
    config.stash[_MADE] = {}


_SEED = pytest.StashKey[int]()
_COUNT = pytest.StashKey[int]()
_CAMPAIGN = pytest.StashKey[Campaign]()
_MADE = pytest.StashKey[dict[str, Campaign]]()


@pytest.fixture
def campaign(request: pytest.FixtureRequest) -> Campaign:
    """Seed and budget for this test; see the module for the use."""
    config = request.config
    minutes: float | None = config.getoption("--minutes")
    share = minutes / max(1, config.stash[_COUNT]) if minutes is not None else None
    made = Campaign(config.stash[_SEED], share, config.getoption("--round"))
    request.node.stash[_CAMPAIGN] = made
    config.stash[_MADE][request.node.nodeid] = made
    return made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Add the line that repeats a failed round to the report."""
    report: Any = yield
    made = item.stash.get(_CAMPAIGN, None)
    if report.failed and made and made.current is not None:
        made.failed = True
        report.sections.append(("repeat this round", repeat_line(item.nodeid, made)))
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """After a run with a budget: what each campaign played, and the line that repeats a failure."""
    if config.getoption("--minutes") is None:
        return
    terminalreporter.section("campaigns")
    for nodeid, made in config.stash.get(_MADE, {}).items():
        name = nodeid.rpartition("::")[2]
        terminalreporter.write_line(f"{made.played:7d} rounds  {int(made.failed)} failures  {name}")
        if made.failed:
            terminalreporter.write_line(f"        repeat: {repeat_line(nodeid, made)}")


def repeat_line(nodeid: str, made: Campaign) -> str:
    """The command that runs the failed round again, and nothing else."""

    return f".venv/bin/pytest '{nodeid}' -n 0 --timeout=0 --seed={made.seed} --round={made.current}"
