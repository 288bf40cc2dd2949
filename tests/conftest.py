"""Loads the fixtures that all tests share; each plugin says what it brings."""

from __future__ import annotations

pytest_plugins = [
    "tests.plugins.campaign",
    "tests.plugins.isolation",
    "tests.plugins.leaks",
    "tests.plugins.properties",
    "tests.servers.fixtures",
]
