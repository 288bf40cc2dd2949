"""The seam for a team's own code, with folders of the test beside those that ship."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry.errors import BadData, UsageError
from registry.usecase import STEPS, known_usecases, load_step, load_usecase

SETTINGS = """
import datetime as dt
from registry.usecase import UseCaseSettings

SETTINGS = UseCaseSettings(
    name={name!r},
    versions={versions!r},
    first_date=dt.date(2013, 1, 1),
    last_date=dt.date(2013, 1, 31),
    snapshot=lambda: {{"source": "1"}},
    algorithms={{"lightgbm": {{}}}},
)
"""
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Adds a use case in a folder of the test; `usecases` is searched there as well."""
    import usecases

    places = [*usecases.__path__, str(tmp_path)]
    monkeypatch.setattr(usecases, "__path__", places)
    monkeypatch.setattr(usecases.__spec__, "submodule_search_locations", places)
    made: list[str] = []

    def add(folder: str, text: str | None = None, **changes: object) -> Path:
        made.append(folder)
        place = tmp_path / folder
        place.mkdir()
        (place / "__init__.py").touch()
        fields = {"name": folder, "versions": dict.fromkeys(STEPS, 1)} | changes
        (place / "settings.py").write_text(SETTINGS.format(**fields) if text is None else text)
        return place

    yield add
    for module in list(sys.modules):
        if any(f"{module}.".startswith(f"usecases.{folder}.") for folder in made):
            del sys.modules[module]


def test_what_ships_can_be_loaded():
    assert "flights" in known_usecases()
    settings = load_usecase("flights")
    assert set(STEPS) <= set(settings.versions)
    assert settings.first_date <= settings.last_date


def test_a_folder_is_a_use_case(make: Make):
    make("trains")
    assert "trains" in known_usecases()
    assert load_usecase("trains").name == "trains"


@pytest.mark.parametrize("name", ["nothing", "", "../x", "Flights", "a.b", "flights\n"])
def test_an_unknown_use_case_names_the_known_ones(name: str):
    with pytest.raises(UsageError, match=r"known are: .*flights"):
        load_usecase(name)


def test_settings_that_are_incomplete_are_named(make: Make):
    make("empty", "")
    with pytest.raises(BadData, match=r"usecases/empty/settings\.py is incomplete"):
        load_usecase("empty")
    make("partial", versions={"ingest": 1, "train": 1})
    with pytest.raises(BadData, match="no version for features, evaluate, predict"):
        load_usecase("partial")


def test_a_copied_folder_that_kept_its_name_is_refused(make: Make):
    make("copy", name="flights")
    with pytest.raises(BadData, match="has the name 'flights'"):
        load_usecase("copy")


def test_the_work_is_loaded_by_name(make: Make):
    (make("boats") / "label.py").write_text("answer = 42\n")
    assert load_step("boats", "label").answer == 42
    with pytest.raises(BadData, match=r"usecases/boats has no features\.py"):
        load_step("boats", "features")
    with pytest.raises(UsageError):
        load_step("nothing", "label")
