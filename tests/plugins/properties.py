"""Hypothesis profiles: few examples at a desk, more in CI, many in a campaign.

No deadline in any: the suite shares its cores with servers. A failure prints the blob that repeats
it (`@reproduce_failure`).
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# A slow machine is no defect of a test, so "too slow" is not reported.
_COMMON = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}

settings.register_profile("dev", settings(max_examples=50, **_COMMON))  # type: ignore[arg-type]
settings.register_profile("ci", settings(max_examples=100, **_COMMON))  # type: ignore[arg-type]
settings.register_profile("campaign", settings(max_examples=2000, **_COMMON))  # type: ignore[arg-type]


def pytest_configure(config: pytest.Config) -> None:
    """Choose the profile: `--hypothesis-profile`, else campaign, CI or dev by how we were called."""
    if config.getoption("--hypothesis-profile", default=None):
        return
    if config.getoption("--minutes", default=None) is not None:
        settings.load_profile("campaign")
    else:
        settings.load_profile("ci" if os.environ.get("CI") else "dev")
