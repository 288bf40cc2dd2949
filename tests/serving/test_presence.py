"""What a service tells Consul, without Consul: the description, and keepers that fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import structlog

from registry.aliases.loaded import Loaded
from registry.consul import Denied
from registry.errors import ConfigError, Temporary
from registry.settings import Settings
from serving import presence
from serving.presence import Presence, open_presence
from serving.registration import Registration, describe, instance_name
from tests.registry.consul.scripted import Asked, absent, said, scripted
from tests.serving.rig import PATIENCE, eventually

WANTED = [("flights", "champion"), ("churn", "candidate")]


class Keeper:
    """Does what `outcomes` say, in turn, the last again and again."""

    def __init__(self, *outcomes: Exception | None) -> None:
        self.outcomes = list(outcomes or [None])
        self.kept = 0
        self.ended = 0

    def keep(self, rows: Sequence[Loaded]) -> None:
        self.kept += 1
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if outcome:
            raise outcome

    def end(self) -> None:
        self.ended += 1
        if self.outcomes[0]:
            raise self.outcomes[0]


def test_a_presence_without_keepers_starts_no_thread() -> None:
    nothing = open_presence(Settings.load({}), WANTED, ("127.0.0.1", 8080))
    nothing.start()
    nothing.show([])
    nothing.join(PATIENCE)
    assert not nothing._thread.is_alive()


def test_registering_needs_consul() -> None:
    settings = Settings.load({"PENSTOCK_SERVING_REGISTER": "true"})
    with pytest.raises(ConfigError, match="CONSUL_HTTP_ADDR"):
        open_presence(settings, WANTED, ("127.0.0.1", 8080))


def test_a_keeper_that_fails_hinders_no_other_and_is_logged_once_for_each_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(presence, "BEAT", 0.01)
    broken = Keeper(Temporary("away"), Temporary("away"), Denied("refused"), ValueError("a defect"))
    sound = Keeper()
    with structlog.testing.capture_logs() as lines:
        present = Presence([broken, sound])
        present.start()
        eventually("some beats", lambda: sound.kept > 5)
        present.join(PATIENCE)
    assert not present._thread.is_alive()
    assert (broken.ended, sound.ended) == (1, 1)
    told = [line["reason"] for line in lines if line["event"] == "not reported to Consul"]
    assert told == ["away", "refused"]
    assert any(line["event"] == "defect in a report to Consul" for line in lines)


def test_a_change_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deployment:
        model, alias, note, generation = "flights", "champion", "", None

    monkeypatch.setattr(presence, "BEAT", PATIENCE * 10)
    keeper = Keeper()
    present = Presence([keeper], "i", "a:1")
    present.start()
    eventually("the first beat", lambda: keeper.kept == 1)
    present.show([Deployment()])  # type: ignore[list-item]
    eventually("another", lambda: keeper.kept == 2)
    present.show([Deployment()])  # type: ignore[list-item]
    present.join(PATIENCE)
    assert keeper.kept == 2


@pytest.mark.parametrize(
    ("host", "advertised", "address", "url"),
    [
        ("127.0.0.1", "", "127.0.0.1", "http://127.0.0.1:8080"),
        ("10.0.0.7", "", "10.0.0.7", "http://10.0.0.7:8080"),
        ("0.0.0.0", "", None, "http://127.0.0.1:8080"),
        ("::", "", None, "http://127.0.0.1:8080"),
        ("0.0.0.0", "10.0.0.7", "10.0.0.7", "http://10.0.0.7:8080"),
        ("::1", "", "::1", "http://[::1]:8080"),
    ],
)
def test_the_service_is_described(
    host: str, advertised: str, address: str | None, url: str
) -> None:
    service = describe(WANTED, (host, 8080), advertised, "i1")
    assert service.get("Address") == address
    assert service["Port"] == 8080
    assert service["Tags"] == ["flights@champion", "churn@candidate"]
    checks = [check["HTTP"] for check in service["Checks"]]
    assert checks == [f"{url}/v2/health/live", f"{url}/v2/health/ready"]
    # A process that is started again takes the place of the one that died.
    assert service["ID"] == describe(WANTED, (host, 8080), advertised, "i2")["ID"]


def test_names_of_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    assert instance_name(8080) != instance_name(8080)
    monkeypatch.setenv("NOMAD_ALLOC_ID", "6a1f0c2e-0000")
    assert instance_name(8080) == "6a1f0c2e-0000"


@pytest.mark.parametrize(
    ("found", "puts"),
    [
        (None, ["register"]),
        ("mine", []),
        ("of a process before", ["register"]),
    ],
)
def test_registering_where_it_is_not_registered(found: str | None, puts: list[str]) -> None:
    def answer(asked: Asked) -> Any:
        if asked.method == "PUT":
            return said(None)
        return said({"ID": "x", "Meta": {"instance": found}}) if found else absent(0)

    with scripted(by=answer) as (consul, script):
        service = describe(WANTED, ("127.0.0.1", 8080), "", "mine")
        registration = Registration(consul, service)
        registration.keep([])
        done = [asked.path.split("/")[-1] for asked in script.asked if asked.method == "PUT"]
        assert done == puts
        registration.end()
    ended = [asked.path for asked in script.asked if "/deregister/" in asked.path]
    # What another process has taken over stays.
    assert len(ended) == (1 if found == "mine" else 0)
