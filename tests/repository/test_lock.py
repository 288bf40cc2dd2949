"""The lock, the metadata and the wheel say the same thing; checked without a network."""

from __future__ import annotations

import fnmatch
import re
from importlib.metadata import EntryPoint

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from setuptools import find_packages

from tests.repository import tree

LOCK = (tree.ROOT / "requirements.lock").read_text()
ENTRY = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)(?: ; (.*?))? \\\n((?:    .*\n)+)", re.MULTILINE)


def locked() -> dict[str, list[tuple[str, str, str]]]:
    """For each name its versions, their markers and what follows: hashes and who asks for it."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for name, version, marker, rest in ENTRY.findall(LOCK):
        found.setdefault(canonicalize_name(name), []).append((version, marker, rest))
    return found


def direct() -> list[Requirement]:
    """What pyproject.toml asks for, the developers' tools included."""
    project = tree.pyproject()
    return [
        Requirement(text)
        for text in (*project["project"]["dependencies"], *project["dependency-groups"]["dev"])
    ]


def test_every_entry_was_read():
    assert sum(map(len, locked().values())) == len(re.findall(r"^[a-z0-9]", LOCK, re.MULTILINE))


@pytest.mark.parametrize("wanted", direct(), ids=lambda requirement: requirement.name)
def test_the_lock_has_what_is_asked_for(wanted):
    versions = [version for version, _, _ in locked().get(canonicalize_name(wanted.name), [])]
    assert versions, f"{wanted} is not in requirements.lock; run `make lock`"
    assert all(wanted.specifier.contains(version) for version in versions), versions


def test_the_lock_has_nothing_that_nobody_asks_for():
    asks = re.compile(r"# (?:via |  )penstock \(pyproject\.toml")
    recorded = {
        name for name, entries in locked().items() for *_, why in entries if asks.search(why)
    }
    asked = {canonicalize_name(requirement.name) for requirement in direct()}
    assert recorded == asked, (
        "requirements.lock is not in step with pyproject.toml; run `make lock`"
    )
    assert all("# via" in why for entries in locked().values() for *_, why in entries)


def test_every_entry_has_hashes():
    without = [
        name
        for name, entries in locked().items()
        if not all("--hash=sha256:" in rest for *_, rest in entries)
    ]
    assert not without


def test_the_markers_can_be_read():
    for entries in locked().values():
        for _, marker, _ in entries:
            if marker:
                Marker(marker).evaluate()


def test_the_lock_names_no_host():
    assert "://" not in LOCK


def test_the_wheel_has_the_packages_and_nothing_else():
    rules = tree.pyproject()["tool"]["setuptools"]["packages"]["find"]
    found = find_packages(str(tree.ROOT), include=rules["include"])
    assert {name.partition(".")[0] for name in found} == set(tree.PACKAGES)
    folders = {".".join(path.parent.relative_to(tree.ROOT).parts) for path in tree.product()}
    assert folders == set(found), "a folder of modules has no __init__.py"


def test_the_wheel_has_every_file_of_the_packages():
    """But the sources of its native library, which is there compiled."""
    patterns = tree.pyproject()["tool"]["setuptools"]["package-data"]["*"]
    left_out = [
        tree.name_of(path)
        for path in tree.files()
        if path.relative_to(tree.ROOT).parts[0] in tree.PACKAGES
        and path.suffix not in (".py", ".c", ".h")
        and not any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns)
    ]
    assert not left_out


def commands() -> list[EntryPoint]:
    """The rows of the group `penstock.commands`, and the command itself."""
    project = tree.pyproject()["project"]
    rows = [("console_scripts", *row) for row in project["scripts"].items()]
    rows += [
        ("penstock.commands", *row) for row in project["entry-points"]["penstock.commands"].items()
    ]
    return [EntryPoint(name, value, group) for group, name, value in rows]


@pytest.mark.parametrize("entry", commands(), ids=lambda entry: entry.name)
def test_every_entry_point_leads_somewhere(entry):
    found = entry.load()
    if entry.group == "penstock.commands":
        assert callable(found.add_parser)
        assert callable(found.run)
    else:
        assert callable(found)
