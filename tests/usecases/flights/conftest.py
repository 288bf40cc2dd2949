"""Three real days around the snow storm of February 2013, read once."""

from __future__ import annotations

import datetime as dt

import pytest

from usecases.flights import sources

DAY = dt.date(2013, 2, 9)


@pytest.fixture(scope="session")
def days():
    return [sources.ingest(DAY - dt.timedelta(back)) for back in (2, 1, 0)]
