"""A small use case in place of those of the checkout, and a world in memory for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from registry.usecase import UseCaseSettings
from tests.pipelines.small import World, a_usecase

UseCase = Callable[..., UseCaseSettings]


@pytest.fixture
def usecase(monkeypatch) -> UseCase:
    """Puts the small use case in place; call it to change its settings."""

    def put(**changes: Any) -> UseCaseSettings:
        settings = a_usecase(**changes)
        monkeypatch.setattr("pipelines.task.load_usecase", lambda name: settings)
        return settings

    put()
    return put


@pytest.fixture
def world(usecase, tmp_path) -> World:
    return World(tmp_path / "var")
