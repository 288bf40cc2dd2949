"""Does a step's version follow its source? The committed list `steps.lock` says what it last was.

Code is not part of an artifact's key; the explicit version of the step is. So that nobody changes
a step and forgets its version, `steps.lock` holds a digest over the sources of each step, and a
test fails when they differ while the version stands. `python -m registry.steps` (`make steps`)
records new digests of steps whose version was raised.

Sources are the job's module, the use case's modules that it runs, and what these import of `jobs`,
`usecases`, `registry.models`, `registry.features` and `registry.halving`. Comments, docstrings and
blank lines do not count.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from registry.errors import BadData, PenstockError, Refused
from registry.usecase import FURTHER_STEPS, STEPS, known_usecases, load_usecase

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "steps.lock"

#: The modules of a use case that the work of a step is in. The view's columns are fixed by
#: `features`, on which the later steps depend through their inputs. Expectations (`quality`) are
#: in none: they decide whether there is a result, not what it is.
_OWN = {
    "ingest": ("sources",),
    "features": ("features", "label"),
    "train": ("predictor",),
    "evaluate": ("predictor",),
    "predict": ("predictor",),
}
_COUNTED = ("jobs.", "usecases.", "registry.models.", "registry.features.", "registry.halving")

Entries = Mapping[str, Mapping[str, Mapping[str, str | int]]]


def step_sources(usecase: str, step: str, root: Path = ROOT) -> list[Path]:
    """The files whose content decides what `step` of `usecase` does, sorted."""
    own = [f"usecases.{usecase}.{module}" for module in _own_modules(usecase, step)]
    found: dict[str, Path] = {}
    stack = [f"jobs.{step}", *own]
    while stack:
        module = stack.pop()
        path = _file(module, root)
        if path is None or module in found:
            continue
        found[module] = path
        stack += [name for name in _imports(path) if _counts(name)]
    return sorted(found.values())


def _own_modules(usecase: str, step: str) -> list[str]:
    horizons = load_usecase(usecase).horizon_names[1:] if step == "features" else []
    return [*_OWN.get(step, ()), *horizons]


def step_digest(usecase: str, step: str, root: Path = ROOT) -> str:
    """16 hex digits over the sources of a step."""
    total = hashlib.sha256()
    for path in step_sources(usecase, step, root):
        total.update(f"{path.relative_to(root)}\n{significant_text(path.read_text())}\n".encode())
    return total.hexdigest()[:16]


def significant_text(source: str) -> str:
    """`source` without comment lines, docstrings and blank lines."""
    dropped = set(_docstring_lines(ast.parse(source)))
    kept = [
        line.rstrip()
        for number, line in enumerate(source.splitlines(), 1)
        if number not in dropped and line.strip() and not line.lstrip().startswith("#")
    ]
    return "\n".join(kept)


def _counts(module: str) -> bool:
    """A use case's settings hold the versions themselves; the rest of them are parameters."""
    return module.startswith(_COUNTED) and not module.endswith(".settings")


def _docstring_lines(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            yield from range(first.lineno, (first.end_lineno or first.lineno) + 1)


def _file(module: str, root: Path) -> Path | None:
    path = root / (module.replace(".", "/") + ".py")
    package = root / module.replace(".", "/") / "__init__.py"
    return path if path.is_file() else package if package.is_file() else None


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def present(root: Path = ROOT) -> Entries:
    """Version and digest of every step of every use case, as the tree stands."""
    return {usecase: _steps_of(usecase, root) for usecase in known_usecases()}


def _steps_of(usecase: str, root: Path) -> dict[str, dict[str, str | int]]:
    return {
        step: {
            "version": load_usecase(usecase).version(step),
            "sources": step_digest(usecase, step, root),
        }
        for step in (*STEPS, *FURTHER_STEPS)
    }


def recorded(path: Path = LOCK) -> Entries:
    """What `steps.lock` says. Raises BadData when it cannot be read."""
    try:
        entries: Entries = json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise BadData(f"{path.name} is not JSON", str(error), "Restore it from git.") from None
    return entries


def forgotten(now: Entries, before: Entries) -> list[str]:
    """The steps, as "flights/train", whose source changed while their version did not rise."""
    return [
        f"{usecase}/{step}"
        for usecase, steps in now.items()
        for step, entry in steps.items()
        if (old := before.get(usecase, {}).get(step)) is not None
        and old["sources"] != entry["sources"]
        and int(entry["version"]) <= int(old["version"])
    ]


def record_new(usecase: str) -> None:
    """Add the steps of a new `usecase` to the list; those of others stay as they were recorded."""
    entries = {**recorded(), usecase: _steps_of(usecase, ROOT)}
    LOCK.write_text(json.dumps(dict(sorted(entries.items())), indent=1) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Record what changed properly; refuse what did not."""
    parser = argparse.ArgumentParser(prog="python -m registry.steps", description=__doc__)
    parser.add_argument("--check", action="store_true", help="record nothing")
    parser.add_argument(
        "--equivalent",
        action="append",
        default=[],
        metavar="USECASE/STEP",
        help="its new source makes the same bytes: record it under the old version",
    )
    words = parser.parse_args(argv)
    try:
        return _record(words.check, words.equivalent)
    except PenstockError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _record(check: bool, equivalent: Sequence[str]) -> int:
    now, before = present(), recorded()
    missed = [name for name in forgotten(now, before) if name not in equivalent]
    if missed:
        raise Refused(
            f"the source of {', '.join(missed)} changed, its version did not",
            "artifacts made by the old and the new code would have the same key",
            "Raise the version in usecases/<name>/settings.py and run `make steps`; if the result "
            "is the same bytes, `make steps ARGS='--equivalent USECASE/STEP'`.",
        )
    if now != before and check:
        raise Refused("steps.lock is behind", "versions were raised", "Run `make steps`.")
    if now != before:
        LOCK.write_text(json.dumps(now, indent=1) + "\n")
    print(f"{sum(map(len, now.values()))} steps are recorded in {LOCK.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
