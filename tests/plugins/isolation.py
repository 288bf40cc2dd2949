"""No test sees the settings of the shell it was started from, nor an easy path.

Servers, stores and clusters are found through environment variables; a test that picked up a real
one would write to it. So they are cleared before each test, and a test sets what it needs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

#: Variables that name stores, clusters or users. `AWS_CA_BUNDLE` is a property of the machine.
FOREIGN = ("PENSTOCK_", "NOMAD_", "CONSUL_", "VAULT_", "AWS_")
KEPT = frozenset({"AWS_CA_BUNDLE"})


def foreign_variables() -> list[str]:
    """The variables of this process that would change what the product does."""
    return [name for name in os.environ if name.startswith(FOREIGN) and name not in KEPT]


@pytest.fixture(autouse=True)
def isolated_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clear every variable through which the product finds the outside."""
    for name in foreign_variables():
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture(autouse=True)
def isolated_logs() -> Iterator[None]:
    """Undo what a test configured: its log goes to a stream that is closed with the test."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def weird_tmp_path(tmp_path: Path) -> Path:
    """A folder whose name has what breaks careless quoting: blanks, quotes, a percent, an é."""
    folder = tmp_path / "a b'c\"d%20é#$(x)"
    folder.mkdir()
    return folder
