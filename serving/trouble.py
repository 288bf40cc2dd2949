"""Trouble: what makes a model that serves go."""

from __future__ import annotations

from typing import NamedTuple

from serving.pool import Pool


class Trouble(NamedTuple):
    """Why a pool must not serve on. `broken`: it cannot even answer."""

    pool: Pool
    reason: str
    broken: bool
