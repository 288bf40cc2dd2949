"""What `penstock doctor` looks at: code, libraries, store, aliases, engines; and what others add."""

from __future__ import annotations

import datetime
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, entry_points, requires, version
from pathlib import Path

from penstock.consul import check_consul
from registry.aliases import Aliases, open_aliases
from registry.artifacts.provenance import refuse_dirty_production, running_code
from registry.artifacts.store import AlreadyExists, Store, open_environment
from registry.artifacts.store.probe import require_conditional_create
from registry.checks import Check, Checker, failed
from registry.errors import BadData, PenstockError, Refused
from registry.secrets.checks import check_secrets
from registry.settings import Settings

GROUP = "penstock.checks"
#: Free space below which a store in a folder gets a warning.
LOW_SPACE = 2 << 30
#: Libraries with native parts, which may be installed and yet not load.
_NATIVE = ("lightgbm", "catboost", "pyarrow")
_ENGINES = (("nomad", "NOMAD_ADDR", "jobs run as processes of this machine"),)


def examine(settings: Settings) -> list[Check]:
    """Make every check. What one raises becomes its failure; the others are made all the same."""
    own: list[tuple[str, Checker]] = [
        ("code", check_code),
        ("libraries", check_libraries),
        ("store", check_store),
        ("aliases", check_aliases),
        ("var", check_var),
        ("secrets", check_secrets),
    ]
    found = sorted(entry_points(group=GROUP), key=lambda row: row.name)
    added: list[tuple[str, Checker]] = [(row.name, row.load()) for row in found]
    checkers = [*own, *added, ("consul", check_consul), ("engines", check_engines)]
    return [check for name, checker in checkers for check in _examined(name, checker, settings)]


def _examined(name: str, checker: Checker, settings: Settings) -> Iterator[Check]:
    try:
        yield from checker(settings)
    except PenstockError as error:
        yield failed(name, error)


def check_code(settings: Settings) -> Iterator[Check]:
    """Which code runs, and whether it may write to this environment."""
    code = running_code()
    dirty = " with uncommitted changes" if code.dirty else ""
    found = f"penstock {version('penstock')}, commit {code.commit[:12]}{dirty}"
    try:
        refuse_dirty_production(settings.environment, code)
    except Refused as error:
        yield Check("code", "warn", f"{found}: {error.what}", error.todo)
    else:
        yield Check("code", "ok", f"{found}, Python {platform.python_version()}")


def check_libraries(_: Settings) -> Iterator[Check]:
    """The libraries of the project are installed, and the native ones load."""
    names = [re.split(r"[^\w.-]", text)[0] for text in requires("penstock") or ()]
    found = {name: _version(name) for name in sorted(names)}
    missing = [name for name, text in found.items() if not text]
    if missing:
        why = f"not installed: {', '.join(missing)}"
        yield Check("libraries", "fail", why, "Run `make install`.", 78)
        return
    yield Check("libraries", "ok", ", ".join(f"{name} {text}" for name, text in found.items()))
    yield from _load_native()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _load_native() -> Iterator[Check]:
    """Import them in a child: an import that fails, or crashes, is a finding."""
    command = [sys.executable, "-c", f"import {', '.join(_NATIVE)}"]
    child = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if child.returncode:
        last = child.stderr.strip().splitlines()[-1:]
        why = f"cannot be imported: {''.join(last)}"
        yield Check("libraries", "fail", why, "On Debian: apt-get install libgomp1.", 78)


def check_store(settings: Settings) -> Iterator[Check]:
    """The store answers, honours create-if-absent, takes a write, and has room."""
    store = open_environment(settings)
    require_conditional_create(store)
    _write(store)
    yield Check("store", "ok", f"{store.url}: creates only if absent, takes writes")
    yield from _space(store)


def _write(store: Store) -> None:
    """Write for real: a byte and gone again in a folder, one small object a day elsewhere."""
    folder = store.local_path("probe")
    if folder is not None:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\n")
        return
    today = datetime.datetime.now(datetime.UTC).date()
    try:
        store.create(f"probe/written/{today}", b"penstock doctor\n")
    except AlreadyExists:
        pass  # An earlier call of today has shown it.


def _space(store: Store) -> Iterator[Check]:
    folder = store.local_path("probe")
    free = shutil.disk_usage(folder).free if folder else LOW_SPACE
    if free < LOW_SPACE:
        found = f"{free / 2**30:.1f} GiB are free at {store.url}"
        yield Check("store", "warn", found, "Make room, or set PENSTOCK_STORE to another place.")


def check_aliases(settings: Settings) -> Iterator[Check]:
    """Every decision can be read, and every head is in step; one that is behind is moved up."""
    aliases = open_aliases(settings, open_environment(settings))
    names = aliases.log.names()
    for model, alias in names:
        yield from _check_alias(aliases, model, alias)
    if not names:
        yield Check("aliases", "ok", "no decision yet")


def _check_alias(aliases: Aliases, model: str, alias: str) -> Iterator[Check]:
    name = f"{model}@{alias}"
    try:
        count = len(aliases.log.entries(model, alias))
        before = _shown_revision(aliases, model, alias)
        newest = aliases.current(model, alias)
    except PenstockError as error:
        yield failed("aliases", error)
        return
    revision = newest.revision if newest else 0
    if before == revision:
        yield Check("aliases", "ok", f"{name} at revision {revision}, decisions: {count}")
    else:
        found = f"{name}: the head was at {before or 'nothing'} and is at {revision} now"
        yield Check("aliases", "warn", found, "Nothing to do: the log is the truth.")


def _shown_revision(aliases: Aliases, model: str, alias: str) -> int:
    try:
        head = aliases.heads.read(model, alias)
    except BadData:
        return 0
    return head.revision if head else 0


def check_var(settings: Settings) -> Iterator[Check]:
    """The folder of this machine can be written."""
    folder = Path(settings.var).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\n")
    except OSError as error:
        found = f"{folder} cannot be written: {error.strerror}"
        yield Check("var", "fail", found, "Set PENSTOCK_VAR to a folder of yours.", 73)
    else:
        yield Check("var", "ok", str(folder))


def check_engines(_: Settings) -> Iterable[Check]:
    """Whether Nomad is named, and what is used in its place."""
    for name, variable, instead in _ENGINES:
        if os.environ.get(variable):
            found = f"{variable} is set, but this version does not use it: {instead}"
            yield Check(name, "warn", found, f"Unset {variable} to be rid of this line.")
        else:
            yield Check(name, "ok", f"{variable} is not set: {instead}")
