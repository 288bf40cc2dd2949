"""Services that follow heads in a real Consul: its deaths and wipes, reports, registration."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.consul import check_consul
from penstock.main import main
from registry.aliases import Aliases, Decision, open_aliases
from registry.aliases.heads import open_heads, scope
from registry.aliases.loaded import Loaded, open_instances
from registry.artifacts.manifest import Reference
from registry.errors import Temporary
from registry.settings import Settings
from serving.loadclient import Load
from serving.registration import SERVICE
from tests.plugins.campaign import Campaign
from tests.servers import fixtures
from tests.servers.api import ApiError
from tests.servers.consul import ConsulServer, consul_agent
from tests.serving.conftest import BODIES, Trained
from tests.serving.rig import Publisher, Service, eventually, service

ABOUT = ("flights", "champion")


class World:
    """An environment whose heads are in Consul, with decisions in its store."""

    def __init__(self, folder: Path, bundles: dict[str, Trained]) -> None:
        self.folder = folder
        self.publisher = Publisher(folder)
        self.settings = Settings.load(self.publisher.environment)
        self.aliases: Aliases = open_aliases(self.settings, self.publisher.store)
        names = ("lightgbm-1", "lightgbm-2", "lightgbm-3")
        self._made = [self.publisher.commit("flights", bundles[name].folder) for name in names]

    def promote(self) -> Decision:
        """Make another model live."""
        newest = self.aliases.log.newest(*ABOUT)
        revision = newest.revision if newest else 0
        candidate: Reference = self._made[revision % len(self._made)]
        return self.aliases.promote(ABOUT, candidate, who="tester", why="another")

    def command(self, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
        """Run `penstock` here."""
        with monkeypatch.context() as patch:
            for name, value in self.publisher.environment.items():
                patch.setenv(name, value)
            assert main([*words, "--json"]) == 0

    def head(self) -> int:
        """The revision of the head; 0 for none, or while nobody answers."""
        try:
            head = open_heads(self.settings).read(*ABOUT)
        except Temporary:
            return 0
        return head.revision if head else 0

    def loaded(self) -> list[Loaded]:
        """What instances report; nothing while nobody answers."""
        try:
            return open_instances(self.settings).all()
        except Temporary:
            return []

    def reported(self, revision: int) -> Loaded:
        """Wait until one instance reports this revision, and none another."""

        def found() -> Loaded | None:
            rows = self.loaded()
            return rows[0] if [row.revision for row in rows] == [revision] else None

        row: Loaded = eventually(f"a report of revision {revision}", found)
        return row

    def serve(self, **settings: Any) -> Any:
        return service(self.publisher, self.folder / "service", "flights", **settings)


@pytest.fixture
def world(consul_env: ConsulServer, tmp_path: Path, bundles: dict[str, Trained]) -> World:
    return World(tmp_path, bundles)


@pytest.fixture
def mortal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ConsulServer]:
    """An agent of the test's own, which keeps its data; named by the environment."""
    program = fixtures.require("consul")
    with consul_agent(program, tmp_path / "consul", persistent=True) as server:
        fixtures.set_environment(monkeypatch, server.environment)
        yield server


def test_what_is_loaded_is_reported_and_taken_back(
    world: World,
    consul_env: ConsulServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world.promote()
    with world.serve() as running:
        row = world.reported(1)
        assert (row.address, row.note) == (running.address, "")
        assert row.live == world.aliases.live(*ABOUT)
        second = world.promote()
        running.wait_for(2)
        again = world.reported(second.revision)
        assert again.instance == row.instance
        capsys.readouterr()
        world.command(monkeypatch, "models")
        (shown,) = json.loads(capsys.readouterr().out)["instances"]
        assert (shown["instance"], shown["revision"], shown["wanted"]) == (row.instance, 2, 2)
        # It was not told to register.
        assert consul_env.api.get(f"/v1/health/service/{SERVICE}") == []
    assert world.loaded() == []


def test_a_rejected_reload_is_in_the_report(world: World, bundles: dict[str, Trained]) -> None:
    world.promote()
    with world.serve():
        world.reported(1)
        damaged = world.publisher.commit("flights", bundles["catboost-4"].folder)
        file = next(
            path
            for path in world.publisher.stored(damaged, "golden.json").parent.iterdir()
            if path.name.startswith("model")
        )
        file.chmod(0o644)
        file.write_bytes(b"not this")
        world.aliases.promote(ABOUT, damaged, who="tester", why="damaged")
        noted = "revision 2 rejected"
        (row,) = eventually("it", lambda: [r for r in world.loaded() if noted in r.note])
        assert row.revision == 1


def passing(server: ConsulServer) -> list[Any]:
    found: list[Any] = server.api.get(f"/v1/health/service/{SERVICE}?passing")
    return found


def test_a_service_registers_passes_its_checks_and_leaves(
    world: World, consul_env: ConsulServer
) -> None:
    world.promote()
    with world.serve(serving_register="true") as running:
        (found,) = eventually("that it passes", lambda: passing(consul_env))
        entry = found["Service"]
        assert f"{entry['Address']}:{entry['Port']}" == running.address
        assert entry["Tags"] == ["flights@champion"]
        assert entry["Meta"]["instance"] == world.reported(1).instance
        # An agent that lost its services is told again.
        consul_env.api.put(f"/v1/agent/service/deregister/{entry['ID']}")
        eventually("that it passes again", lambda: passing(consul_env))
    assert consul_env.api.get(f"/v1/health/service/{SERVICE}") == []
    assert "registered in Consul" in running.log


def test_a_service_starts_and_answers_while_consul_is_down(
    mortal: ConsulServer, tmp_path: Path, bundles: dict[str, Trained]
) -> None:
    world = World(tmp_path, bundles)
    world.promote()
    with world.serve():
        pass
    mortal.kill()
    with world.serve() as running:
        assert running.revision() == 1
        mortal.start()
        eventually("the head", lambda: world.head() == 1)
        world.promote()
        running.wait_for(2)
        world.reported(2)


@pytest.mark.campaign
def test_killing_consul_fails_no_request(
    mortal: ConsulServer, tmp_path: Path, bundles: dict[str, Trained], campaign: Campaign
) -> None:
    """SIGKILL and start again with its data; then a new revision is picked up."""
    world = World(tmp_path, bundles)
    world.promote()
    with world.serve() as running:
        instance = world.reported(1).instance
        for turn in campaign.rounds(short=20 if campaign.long else 2):
            with Load(running.address, BODIES, connections=4, pause=0.005) as load:
                load.wait(turn.random.randint(1, 100))
                mortal.kill()
                load.wait(turn.random.randint(1, 200))
                mortal.start()
                newest = eventually("a promotion", lambda: attempted(world.promote))
                running.wait_for(newest.revision)
                load.wait(50)
            assert load.report.failed == []
            assert world.reported(newest.revision).instance == instance
            check_revisions(load)


def attempted(act: Callable[[], Decision]) -> Decision | None:
    """What `act` returns; None while Consul is not back."""
    try:
        return act()
    except Temporary:
        return None


def check_revisions(load: Load) -> None:
    """No connection saw an older revision after a newer one."""
    for connection in range(4):
        seen = load.report.revisions(connection)
        assert seen == sorted(set(seen))


@pytest.mark.campaign
def test_wiping_consul_fails_no_request_and_reuses_no_revision(
    mortal: ConsulServer,
    tmp_path: Path,
    bundles: dict[str, Trained],
    campaign: Campaign,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`penstock models` rebuilds the head from the log; nothing is loaded anew, nothing older."""
    world = World(tmp_path, bundles)
    world.promote()
    with world.serve() as running:
        revision = world.reported(1).revision
        for turn in campaign.rounds(short=20 if campaign.long else 2):
            with Load(running.address, BODIES, connections=4, pause=0.005) as load:
                load.wait(turn.random.randint(1, 100))
                mortal.wipe()
                # A round in two, the service reports before any command was run.
                if turn.random.random() < 0.5:
                    world.reported(revision)
                assert eventually("an answer", lambda: answers(mortal))
                assert world.head() == 0
                world.command(monkeypatch, "models")
                assert world.head() == revision
                world.reported(revision)
                load.wait(50)
                assert reloads(running, at_least=revision) == revision
                newest = world.promote()
                assert newest.revision == revision + 1
                running.wait_for(newest.revision)
                revision = newest.revision
            assert load.report.failed == []
            check_revisions(load)
    assert [entry.revision for entry in world.aliases.log.entries(*ABOUT)] == list(
        range(1, revision + 1)
    )


def answers(server: ConsulServer) -> bool:
    try:
        server.api.get("/v1/kv/none")
    except ApiError as error:
        return error.status == 404
    return True


def reloads(running: Service, at_least: int) -> int:
    """How many generations became active; those that are known of are waited for."""
    line = 'reload_total{model="flights",result="active"} '

    def count() -> int:
        return int(float(running.get("/metrics").text.partition(line)[2].splitlines()[0]))

    eventually("the last reload", lambda: count() >= at_least)
    return count()


def test_doctor_shows_the_scope_that_policies_need(world: World) -> None:
    (check,) = check_consul(world.settings)
    assert check.status == "ok"
    assert f"penstock/{scope(world.settings)}" in check.found
