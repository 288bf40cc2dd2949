"""Random walks over store, commit, retraction and aliases against a model of a few lines.

The model knows nothing of files, revisions above heads, or lost replies: the first commit of a
recipe wins, a retraction opens a new epoch, and what is live is the top of a stack.
"""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as walk

from registry.aliases import Aliases
from registry.aliases.decision import DecisionLog
from registry.aliases.heads.memory import MemoryHeads
from registry.artifacts.fetch import find_manifest
from registry.artifacts.key import Recipe
from registry.artifacts.retract import read_epochs, retract
from registry.artifacts.store import once
from registry.artifacts.store.memory import MemoryStore
from registry.errors import NotFound, Refused
from tests.faults import FaultyStore, Schedule
from tests.plugins.campaign import Campaign
from tests.registry.makers import a_recipe, a_reference, commit_one

ABOUT = ("flights", "champion")
#: A chain: each recipe has the one before it as its input.
STEPS = ("ingest", "features", "model")
NUMBERS = st.integers(1, 4)


class Decisions(RuleBasedStateMachine):
    """The aliases beside their model: what is live is the top of a stack."""

    def __init__(self) -> None:
        super().__init__()
        self.real = MemoryStore()
        self.heads = MemoryHeads()
        self.log: list[tuple[str, int]] = []
        self.stacks: list[list[int]] = [[]]

    def aliases(self, seed: int) -> Aliases:
        """A fresh client, as each command is; every third write fails in some way."""
        store = FaultyStore(self.real, Schedule(rate=0.3, seed=seed))
        return Aliases(DecisionLog(store), self.heads)

    @rule(number=NUMBERS, verdict=st.sampled_from(["publish", "reject"]), seed=st.integers())
    def settle(self, number: int, verdict: Any, seed: int) -> None:
        entry = self.aliases(seed).settle(ABOUT, a_reference(number), verdict, who="w", why="x")
        decided = [n for action, n in self.log if action in ("publish", "reject")]
        if number in decided:
            return
        assert entry.action == verdict
        self.append(verdict, number, self.stacks[-1] if verdict == "reject" else None)

    @precondition(lambda self: self.stacks[-1])
    @rule(verdict=st.sampled_from(["publish", "reject"]), seed=st.integers())
    def settle_what_is_live(self, verdict: Any, seed: int) -> None:
        self.settle(self.stacks[-1][-1], verdict, seed)

    @rule(number=NUMBERS, seed=st.integers())
    def promote(self, number: int, seed: int) -> None:
        act = self.aliases(seed).promote
        if self.stacks[-1][-1:] == [number]:
            with pytest.raises(Refused):
                act(ABOUT, a_reference(number), who="me", why="x")
            return
        act(ABOUT, a_reference(number), who="me", why="x")
        self.append("promote", number)

    @rule(seed=st.integers())
    def rollback(self, seed: int) -> None:
        act, back = self.aliases(seed).rollback, self.stacks[-1][:-1]
        if not back:
            with pytest.raises(Refused):
                act(ABOUT, who="me", why="x")
            return
        act(ABOUT, who="me", why="x")
        self.append("rollback", back[-1], back)

    @precondition(lambda self: self.log)
    @rule(data=st.data(), seed=st.integers())
    def rollback_to(self, data: st.DataObject, seed: int) -> None:
        revision = data.draw(st.integers(1, len(self.log) + 1))
        stack = self.stacks[revision] if revision <= len(self.log) else []
        act = self.aliases(seed).rollback
        if not stack:
            with pytest.raises(Refused):
                act(ABOUT, who="me", why="x", to=revision)
            return
        act(ABOUT, who="me", why="x", to=revision)
        self.append("rollback", stack[-1], stack)

    @rule()
    def lose_heads(self) -> None:
        """Consul was rebuilt, or the laptop's folder removed."""
        self.heads = MemoryHeads()

    def append(self, action: str, number: int, stack: list[int] | None = None) -> None:
        top = self.stacks[-1]
        if stack is None:
            stack = top if top[-1:] == [number] else [*top, number]
        self.log.append((action, number))
        self.stacks.append(list(stack))

    @invariant()
    def decisions_agree(self) -> None:
        aliases = Aliases(DecisionLog(self.real), self.heads)
        entries = aliases.log.entries(*ABOUT)
        assert [entry.revision for entry in entries] == list(range(1, len(self.log) + 1))
        assert [(e.action, int(e.candidate.key, 16)) for e in entries] == self.log
        newest = aliases.current(*ABOUT)
        live = int(newest.live.key, 16) if newest and newest.live else None
        assert live == (self.stacks[-1][-1] if self.stacks[-1] else None)
        head = self.heads.read(*ABOUT)
        assert (head.revision if head else 0) == len(self.log)


class Registry(Decisions):
    """Aliases and artifacts beside their models, in one store."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: dict[str, int] = {}
        self.contents: dict[str, bytes] = {}

    def recipe(self, step: str, epoch: int | None = None) -> Recipe:
        place = STEPS.index(step)
        inputs = {"input": self.recipe(STEPS[place - 1]).key} if place else {}
        recipe = a_recipe(family=step, inputs=inputs)
        return recipe.at_epoch(self.epochs.get(recipe.key, 0) if epoch is None else epoch)

    @rule(
        step=st.sampled_from(STEPS), content=st.binary(min_size=1, max_size=4), seed=st.integers()
    )
    def commit(self, step: str, content: bytes, seed: int) -> None:
        recipe = self.recipe(step)
        first = recipe.key not in self.contents
        store = FaultyStore(self.real, Schedule(rate=0.3, seed=seed))
        done = commit_one(store, recipe, {"file": content})
        assert done.mine == first
        self.contents.setdefault(recipe.key, content)
        assert self.real.get(done.manifest.data + "file") == self.contents[recipe.key]

    @rule(step=st.sampled_from(STEPS))
    def retract(self, step: str) -> None:
        recipe = self.recipe(step)
        if recipe.key not in self.contents:
            with pytest.raises(NotFound):
                retract(self.real, recipe.key, who="me", why="x")
            return
        assert retract(self.real, recipe.key, who="me", why="x").epoch == recipe.epoch + 1
        self.epochs[recipe.base_key] = recipe.epoch + 1

    @rule(step=st.sampled_from(STEPS))
    def retract_again(self, step: str) -> None:
        current = self.recipe(step)
        if current.epoch and (old := self.recipe(step, current.epoch - 1)).key in self.contents:
            with pytest.raises(Refused):
                retract(self.real, old.key, who="me", why="x")

    @invariant()
    def artifacts_agree(self) -> None:
        assert len(list(self.real.list("manifests"))) == len(self.contents)
        assert dict(read_epochs(self.real)) == self.epochs
        for step in STEPS:
            recipe = self.recipe(step)
            manifest = find_manifest(self.real, recipe)
            assert (manifest is not None) == (recipe.key in self.contents)


@pytest.mark.campaign
@pytest.mark.parametrize("machine", [Decisions, Registry])
def test_the_registry_behaves_as_its_model(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch, machine: type[Decisions]
):
    monkeypatch.setattr(once, "_FIRST_DELAY", 0)
    examples, steps = (50, 60) if campaign.long else (25, 25)
    budget = hypothesis.settings(max_examples=examples, stateful_step_count=steps, database=None)
    for turn in campaign.rounds(short=1):
        # A class of its own keeps the seed that it is given.
        seeded: Any = hypothesis.seed(turn.random.getrandbits(64))(
            type(machine.__name__, (machine,), {})
        )
        walk(seeded, settings=budget)
