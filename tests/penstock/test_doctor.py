"""Doctor tells origins, masks secrets, heals heads, and fails with the code of what failed."""

from __future__ import annotations

import pytest

from penstock import checks
from penstock.commands.doctor import _shown
from registry.settings import Setting, Settings
from tests.penstock.conftest import Imported, Place


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_NATIVE", ("json",))


def test_a_fresh_folder_is_fine(place: Place) -> None:
    done = place.ok("doctor", "--json", PENSTOCK_WORKERS="3").document
    origins = {row["name"]: (row["value"], row["origin"]) for row in done["settings"]}
    assert origins["workers"] == (3, "environment PENSTOCK_WORKERS")
    assert origins["store"] == ("var/store", "default")
    assert {check["status"] for check in done["checks"]} == {"ok"}
    names = {check["name"] for check in done["checks"]}
    assert {
        "code",
        "libraries",
        "store",
        "aliases",
        "machine",
        "gpu",
        "nomad",
        "consul",
        "vault",
    } <= names


def test_a_flag_comes_before_the_environment(place: Place) -> None:
    done = place.ok("doctor", "--json", "--store", "here", PENSTOCK_STORE="there").document
    assert done["settings"][0]["value"] == "here"
    assert done["settings"][0]["origin"] == "flag"


def test_a_head_that_is_behind_is_healed(imported: Imported) -> None:
    done = imported.ok("doctor")
    assert "warn  aliases    churn@champion: the head was at nothing and is at 1 now" in done.out
    assert "ok    aliases    churn@champion at revision 1" in imported.ok("doctor").out


def test_a_setting_that_cannot_be_used(place: Place) -> None:
    done = place.call("doctor", PENSTOCK_WORKERS="none")
    assert done.code == 78
    assert "fail  settings   PENSTOCK_WORKERS" in done.out


def test_a_store_that_cannot_be_written(place: Place) -> None:
    (place.folder / "file").write_text("")
    done = place.call("doctor", "--store", "file")
    assert done.code in (73, 74)
    assert "fail  store" in done.out
    assert "ok    var" in done.out


def test_secrets_are_masked() -> None:
    secret = Setting("token", str, lambda: "", "a token", secret=True)
    plain = Setting("url", str, lambda: "", "an address")
    assert _shown(secret, "s3cret") == "********"
    assert _shown(plain, "https://me:s3cret@host/x") == "https://********@host/x"


def test_an_engine_that_is_named_but_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOMAD_ADDR", "http://127.0.0.1:4646")
    found = {check.name: check.status for check in checks.check_engines(Settings.load({}))}
    assert found == {"nomad": "warn"}


def test_a_store_that_ignores_the_condition(monkeypatch, tmp_path) -> None:
    from registry.artifacts.store.memory import MemoryStore

    def overwrite(self: MemoryStore, key: str, data: bytes) -> None:
        self._objects[key] = data

    monkeypatch.setattr(MemoryStore, "create", overwrite)
    settings = Settings.load({"PENSTOCK_STORE": "memory://x", "PENSTOCK_VAR": str(tmp_path)})
    found = [check for check in checks.examine(settings) if check.status == "fail"]
    assert [(check.name, check.exit_code) for check in found] == [("store", 77)]
    assert "only if absent" in found[0].found


def test_native_libraries_that_do_not_load(monkeypatch) -> None:
    monkeypatch.setattr(checks, "_NATIVE", ("no_such_library",))
    found = list(checks.check_libraries(Settings.load({})))
    assert found[-1].status == "fail"
    assert "no_such_library" in found[-1].found
