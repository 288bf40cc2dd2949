"""Heads and loaded keys against real Consul agents: damage, deaths, wipes and rights."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import pytest

from registry.aliases import Aliases
from registry.aliases import loaded as loaded_module
from registry.aliases.decision import DecisionLog
from registry.aliases.heads import Head
from registry.aliases.heads.consul import ConsulHeads
from registry.aliases.loaded import ConsulInstances, ConsulReport, Loaded
from registry.artifacts.store.memory import MemoryStore
from registry.consul import Access, Denied
from registry.consul.client import LARGEST_VALUE, Consul
from registry.errors import BadData, Temporary
from tests.races import PATIENCE, race_processes
from tests.registry.makers import a_reference
from tests.servers import fixtures
from tests.servers.consul import ConsulServer, consul_agent

ABOUT = ("flights", "champion")
PREFIX = "penstock/dev-me-0123456789ab"
KEY = f"{PREFIX}/heads/flights/champion"
POLICIES = Path(__file__).parents[3] / "nomad/policies/consul"


def client(server: ConsulServer, token: str = "") -> Consul:
    return TokenOf(Access.from_environment(server.environment), token)


class TokenOf(Consul):
    """A client with a token of its own, instead of the environment's."""

    def __init__(self, access: Access, token: str) -> None:
        super().__init__(access)
        self.token = token

    def _token(self) -> str:
        return self.token


def head(revision: int, write_id: str = "") -> Head:
    return Head(*ABOUT, revision, a_reference(revision), write_id or f"w{revision}", "me", "now")


def report_of(revision: int, instance: str = "i1") -> Loaded:
    return Loaded(*ABOUT, instance, "127.0.0.1:8080", revision, a_reference(revision), "now")


def eventually(what: str, check: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if value := check():
                return value
        except Temporary:
            pass
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen")


@pytest.fixture
def heads(consul_env: ConsulServer) -> ConsulHeads:
    return ConsulHeads(client(consul_env), PREFIX)


def put(server: ConsulServer, value: bytes) -> None:
    server.api.put(f"/v1/kv/{KEY}", value)


@pytest.mark.parametrize("damage", [b"", b"{", b"null", b'{"revision": "7"}', b"\xff\xfe"])
def test_a_damaged_head_is_named_and_replaced(
    heads: ConsulHeads, consul_env: ConsulServer, damage: bytes
) -> None:
    heads.advance(head(5))
    put(consul_env, damage)
    for act in (lambda: heads.read(*ABOUT), lambda: heads.wait(*ABOUT, 5, PATIENCE)):
        with pytest.raises(BadData, match=f"{KEY}.*Delete the key"):
            act()
    assert heads.advance(head(2)) == head(2)
    assert heads.read(*ABOUT) == head(2)


def test_racing_processes_end_at_the_highest_revision(consul_env: ConsulServer) -> None:
    outcomes = race_processes(3, _advance_all, dict(consul_env.environment))
    found = ConsulHeads(client(consul_env), PREFIX).read(*ABOUT)
    assert found is not None
    assert found.revision == 10 * 3
    assert all(revisions == sorted(revisions) for revisions in outcomes)


def _advance_all(number: int, barrier: Any, environment: Mapping[str, str]) -> list[int]:
    heads = ConsulHeads(Consul(Access.from_environment(environment)), PREFIX)
    barrier.wait(PATIENCE)
    return [heads.advance(head(3 * turn + number + 1)).revision for turn in range(10)]


def test_consul_takes_the_largest_value_and_no_more(consul_env: ConsulServer) -> None:
    consul = client(consul_env)
    assert consul.put("penstock/large", b"x" * LARGEST_VALUE, cas=0)
    with pytest.raises(OSError):  # 413, or the connection is closed before all is sent
        consul_env.api.put("/v1/kv/penstock/larger", b"x" * (LARGEST_VALUE + 1))
    assert consul.get("penstock/larger").entry is None


def test_a_key_that_is_deleted_and_comes_back(heads: ConsulHeads, consul_env: ConsulServer) -> None:
    heads.advance(head(5))
    with Watch(heads, 5) as watch:
        consul_env.api.delete(f"/v1/kv/{KEY}")
        heads.advance(head(5))
        heads.advance(head(6))
        watch.until(6)
    assert watch.seen == [6]


class Watch:
    """A thread that waits for one revision after the other, as serving does."""

    def __init__(self, heads: ConsulHeads, revision: int) -> None:
        self.seen: list[int] = []
        self.failures: list[Temporary] = []
        self._heads = heads
        self._revision = revision
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                found = self._heads.wait(*ABOUT, self._revision, 2.0)
            except Temporary as error:
                self.failures.append(error)
                self._stopped.wait(0.1)
                continue
            if found is not None:
                self._revision = found.revision
                self.seen.append(found.revision)

    def until(self, revision: int) -> None:
        eventually(f"revision {revision}", lambda: self.seen and self.seen[-1] == revision)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(PATIENCE)


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    """An agent of this module's own, which keeps its data."""
    folder = tmp_path_factory.mktemp("mortal")
    with consul_agent(fixtures.require("consul"), folder, persistent=True) as server:
        yield server


def test_a_killed_agent_is_followed_again_and_loses_nothing(mortal: ConsulServer) -> None:
    heads = ConsulHeads(client(mortal), f"{PREFIX}-killed")
    heads.advance(head(1))
    with Watch(heads, 1) as watch:
        mortal.kill()
        eventually("that it is missed", lambda: watch.failures)
        mortal.start()
        assert eventually("an answer", lambda: heads.read(*ABOUT)) == head(1)
        heads.advance(head(2))
        watch.until(2)
    # Neither the restart nor the election before it showed anything older.
    assert watch.seen == [2]


def test_what_was_wiped_is_rebuilt_above_what_any_instance_has(mortal: ConsulServer) -> None:
    """Log and Consul are lost up to revision 3, and an instance has loaded revision 7."""
    consul = client(mortal)
    prefix = f"{PREFIX}-wiped"
    report = ConsulReport(consul, prefix, "i1")
    aliases = Aliases(
        DecisionLog(MemoryStore()), ConsulHeads(consul, prefix), ConsulInstances(consul, prefix)
    )
    for number in (1, 2, 3):
        aliases.promote(ABOUT, a_reference(number), who="me", why="new")
    report.keep([report_of(7)])
    with Watch(ConsulHeads(consul, prefix), 3) as watch:
        mortal.wipe()
        assert eventually("an answer", lambda: consul.get(KEY).index)
        assert aliases.heads.read(*ABOUT) is None
        # Any command heals the head, to the newest decision there is; the instance reports again.
        assert aliases.live(*ABOUT) == a_reference(3)
        healed = aliases.heads.read(*ABOUT)
        report.keep([report_of(7)])
        eighth = aliases.promote(ABOUT, a_reference(4), who="me", why="new")
        watch.until(8)
    assert healed is not None
    assert (healed.revision, eighth.revision) == (3, 8)
    assert watch.seen == [8]
    report.end()


# what is loaded -------------------------------------------------------------------------------


@pytest.fixture
def consul(consul_env: ConsulServer) -> Consul:
    return client(consul_env)


@pytest.fixture
def instances(consul: Consul) -> ConsulInstances:
    return ConsulInstances(consul, PREFIX)


def test_reports_come_and_go_with_their_instance(
    consul: Consul, instances: ConsulInstances
) -> None:
    first, second = (ConsulReport(consul, PREFIX, name) for name in ("i1", "i2"))
    first.keep([report_of(3)])
    second.keep([report_of(4, "i2")])
    assert instances.all() == [report_of(3), report_of(4, "i2")]
    first.keep([report_of(4)])
    assert instances.all() == [report_of(4), report_of(4, "i2")]
    first.end()
    assert instances.all() == [report_of(4, "i2")]
    second.end()
    first.end()
    assert instances.all() == []


def test_an_instance_that_is_silent_is_forgotten_and_comes_back(
    consul: Consul, instances: ConsulInstances, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaded_module, "TTL", 1)
    report = ConsulReport(consul, PREFIX, "i1")
    report.keep([report_of(3)])
    eventually("that it is forgotten", lambda: not instances.all())
    # At once, although a lost session usually delays the next.
    report.keep([report_of(3)])
    assert instances.all() == [report_of(3)]
    report.end()


def test_a_report_that_somebody_deleted_is_put_again(
    consul: Consul, instances: ConsulInstances, consul_env: ConsulServer
) -> None:
    report = ConsulReport(consul, PREFIX, "i1")
    report.keep([report_of(3)])
    consul_env.api.delete(f"/v1/kv/{PREFIX}/?recurse")
    assert instances.all() == []
    report.keep([report_of(3)])
    assert instances.all() == [report_of(3)]
    report.end()


def test_a_report_that_is_held_by_another_session_is_not_taken(consul: Consul) -> None:
    first, second = (ConsulReport(consul, PREFIX, "same") for _ in range(2))
    first.keep([report_of(3, "same")])
    with pytest.raises(Temporary, match="another session"):
        second.keep([report_of(4, "same")])
    first.end()
    second.keep([report_of(4, "same")])
    second.end()


def test_a_report_that_cannot_be_read_is_left_out(
    consul: Consul, instances: ConsulInstances, consul_env: ConsulServer
) -> None:
    report = ConsulReport(consul, PREFIX, "i1")
    report.keep([report_of(3)])
    consul_env.api.put(f"/v1/kv/{PREFIX}/loaded/flights/odd", b"{")
    newer = b'{"model": "flights", "alias": "champion", "instance": "i2", "address": "a", '
    newer += b'"revision": 1, "live": null, "of_a_later_version": 1}'
    consul_env.api.put(f"/v1/kv/{PREFIX}/loaded/flights/newer", newer)
    assert [row.instance for row in instances.all()] == ["i1", "i2"]
    report.end()


# rights ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    """An agent that denies what no token allows, with the shipped policies."""
    folder = tmp_path_factory.mktemp("guarded")
    with consul_agent(fixtures.require("consul"), folder, acl=True) as server:
        for path in sorted(POLICIES.glob("*.hcl")):
            rules = path.read_text().replace("SCOPE", PREFIX.removeprefix("penstock/"))
            server.policy(path.stem, rules)
        yield server


def holder(server: ConsulServer, *policies: str) -> Consul:
    return client(server, server.make_token(*policies))


def test_the_pipelines_token_moves_heads_and_does_nothing_else(guarded: ConsulServer) -> None:
    consul = holder(guarded, "pipeline")
    heads = ConsulHeads(consul, PREFIX)
    raised = heads.advance(head(1))
    assert heads.wait(*ABOUT, 0, PATIENCE) == raised == head(1)
    assert isinstance(ConsulInstances(consul, PREFIX).all(), list)
    with pytest.raises(Denied, match=r"serving\.hcl"):
        ConsulReport(consul, PREFIX, "i1").keep([report_of(1)])
    with pytest.raises(Denied):
        ConsulHeads(consul, "penstock/prod-0123456789ab").advance(head(1))
    with pytest.raises(Denied, match=r"serving\.hcl"):
        consul.call("PUT", "/v1/agent/service/register", (), {"Name": "penstock-serving"})


def test_servings_token_follows_heads_and_cannot_move_them(guarded: ConsulServer) -> None:
    ConsulHeads(holder(guarded, "pipeline"), PREFIX).advance(head(2))
    consul = holder(guarded, "serving")
    heads = ConsulHeads(consul, PREFIX)
    assert heads.wait(*ABOUT, 1, PATIENCE) == head(2)
    with pytest.raises(Denied, match=r"pipeline\.hcl"):
        heads.advance(head(3))
    assert heads.read(*ABOUT) == head(2)
    report = ConsulReport(consul, PREFIX, "i1")
    report.keep([report_of(2)])
    report.keep([report_of(2)])
    assert ConsulInstances(consul, PREFIX).all() == [report_of(2)]
    report.end()
    service = {"ID": "penstock-serving-1", "Name": "penstock-serving"}
    consul.call("PUT", "/v1/agent/service/register", (), service)
    assert consul.call("GET", "/v1/agent/service/penstock-serving-1").document["ID"]
    consul.call("PUT", "/v1/agent/service/deregister/penstock-serving-1")
    with pytest.raises(Denied):
        consul.call("PUT", "/v1/agent/service/register", (), {"Name": "billing"})


def test_an_operators_token_reads(guarded: ConsulServer) -> None:
    ConsulHeads(holder(guarded, "pipeline"), PREFIX).advance(head(2))
    consul = holder(guarded, "operator")
    assert ConsulHeads(consul, PREFIX).read(*ABOUT)
    assert isinstance(ConsulInstances(consul, PREFIX).all(), list)
    assert consul.call("GET", "/v1/health/service/penstock-serving").document == []
    with pytest.raises(Denied):
        ConsulHeads(consul, PREFIX).advance(head(99))


def test_without_a_token_nothing_is_read(guarded: ConsulServer) -> None:
    ConsulHeads(holder(guarded, "pipeline"), PREFIX).advance(head(2))
    for token in ("", "2d8c3b1a-0000-0000-0000-000000000000"):
        consul = client(guarded, token)
        with pytest.raises(Denied, match="key:read"):
            ConsulHeads(consul, PREFIX).read(*ABOUT)
        with pytest.raises(Denied, match="key:read"):
            ConsulInstances(consul, PREFIX).all()


def test_a_token_that_is_revoked_while_waiting_is_not_a_deleted_head(guarded: ConsulServer) -> None:
    heads = ConsulHeads(holder(guarded, "pipeline"), PREFIX)
    heads.advance(head(2))
    consul = holder(guarded, "serving")
    assert isinstance(consul, TokenOf)
    following = ConsulHeads(consul, PREFIX)
    standing = following.read(*ABOUT)
    assert standing is not None
    own = Consul.call(consul, "GET", "/v1/acl/token/self").document["AccessorID"]
    guarded.api.delete(f"/v1/acl/token/{own}")
    with pytest.raises(Denied):
        eventually("the refusal", lambda: following.wait(*ABOUT, standing.revision, 0.5))


def test_what_is_live_can_be_read_without_the_right_to_heal(guarded: ConsulServer) -> None:
    log = DecisionLog(MemoryStore())
    prefix = f"{PREFIX}-behind"
    managing = client(guarded, guarded.environment["CONSUL_HTTP_TOKEN"])
    Aliases(log, ConsulHeads(managing, prefix)).promote(
        ABOUT, a_reference(1), who="me", why="first"
    )
    guarded.api.delete(f"/v1/kv/{prefix}/?recurse")
    reading = Aliases(log, ConsulHeads(holder(guarded, "operator"), prefix))
    assert reading.live(*ABOUT) == a_reference(1)


def test_a_head_is_plain_json_for_other_readers(
    heads: ConsulHeads, consul_env: ConsulServer
) -> None:
    heads.advance(head(4))
    (row,) = consul_env.api.get(f"/v1/kv/{KEY}")
    assert b'"revision": 4' in base64.b64decode(row["Value"])
