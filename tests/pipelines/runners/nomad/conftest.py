"""Runners on a recorded Nomad."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipelines.runners.nomad.runner import NomadRunner
from pipelines.runners.nomad.transport import Access
from tests.pipelines.runners.nomad.recorded import RecordedNomad, recorded_nomad


@pytest.fixture
def nomad() -> Iterator[RecordedNomad]:
    with recorded_nomad() as recorded:
        yield recorded


@pytest.fixture
def runner(nomad: RecordedNomad) -> Iterator[NomadRunner]:
    with NomadRunner(Access.of({"NOMAD_ADDR": nomad.address}), pace=0.05) as made:
        yield made
