"""Writes a new use case into the checkout, whole or not at all."""

from __future__ import annotations

import importlib
import importlib.util
import keyword
import subprocess
import sys
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from penstock.scaffold.described import File, Roles, describe
from penstock.scaffold.render import render
from penstock.scaffold.sample import sample_csv
from registry.errors import Refused, UsageError
from registry.steps import ROOT, record_new
from registry.usecase import NAME, known_usecases

#: The line of docs/usecase.md below which every use case's page is linked.
MARK = "## Pages of use cases\n"
_SAMPLE = Roles(time="signed_up", id="customer", label="left", known_at="known_at")


@dataclass(frozen=True)
class Created:
    """What was written, by its path in the checkout, and from what."""

    name: str
    paths: list[str]
    file: File


def check_name(name: str) -> None:
    """Raise UsageError for a name that a folder, a module and a model cannot all have."""
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise UsageError(
            f"{name!r} cannot be the name of a use case",
            "it names a folder, a Python package and a model: a letter, then a-z, 0-9 and _, up to "
            "40 in all, and no word of Python's own",
            "For example churn, or fraud_eu.",
        )
    if name in known_usecases():
        raise UsageError(
            f"there is a use case {name} already",
            f"known are {', '.join(known_usecases())}",
            "Choose another name; nothing is overwritten.",
        )


def create(
    name: str,
    source: Path | None = None,
    roles: Roles | None = None,
    positive: str | None = None,
    without: Collection[str] = (),
) -> Created:
    """Write the use case `name`, for a file of yours, or with a sample in its folder.

    Columns named in `without` are not read.

    Raises:
        UsageError: the name is taken or malformed, or the file lacks a column.
        NotFound, BadData: there is no such file, or it is not one of rows over days.
        Refused: the code runs from an installation, not from a checkout.
    """
    check_name(name)
    _require_checkout()
    if source is None or roles is None:
        return _create_sample(name)
    path = source.expanduser().resolve()
    file = describe(path, roles, positive, without)
    expression, words = _located(path)
    return _write(name, file, render(name, file, expression, words))


def _create_sample(name: str) -> Created:
    text = sample_csv()
    with tempfile.TemporaryDirectory(prefix="penstock-") as folder:
        path = Path(folder) / "sample.csv"
        path.write_text(text, encoding="utf-8")
        file = describe(path, _SAMPLE)
    words = "the sample `sample.csv` in its folder, which is made up"
    texts = render(name, file, 'Path(__file__).with_name("sample.csv")', words)
    return _write(name, file, {f"usecases/{name}/sample.csv": text, **texts})


def _write(name: str, file: File, texts: dict[str, str]) -> Created:
    _refuse_existing([ROOT / path for path in texts])
    for path, text in texts.items():
        target = ROOT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    _format([path for path in texts if path.endswith(".py")])
    _link(name)
    importlib.invalidate_caches()
    record_new(name)
    return Created(name, sorted(texts), file)


def _require_checkout() -> None:
    if not all((ROOT / part).exists() for part in ("pyproject.toml", "usecases", "tests/usecases")):
        raise Refused(
            "a use case is written into a checkout",
            f"this code runs from {ROOT}, which is none",
            "Clone the repository, run `make install`, and use its .venv/bin/penstock.",
        )


def _refuse_existing(paths: list[Path]) -> None:
    for path in paths:
        if path.exists():
            raise UsageError(
                f"{path.relative_to(ROOT)} is there already",
                "nothing is overwritten",
                "Move it away, or choose another name.",
            )


def _located(path: Path) -> tuple[str, str]:
    """The path as Python writes it, so that it holds for others where it can; and in words."""
    if path.is_relative_to(ROOT):
        inside = path.relative_to(ROOT).as_posix()
        return f'Path(__file__).resolve().parents[2] / "{inside}"', f"`{inside}`"
    if path.is_relative_to(Path.home()):
        short = f"~/{path.relative_to(Path.home()).as_posix()}"
        return f'Path("{short}").expanduser()', f"`{short}`"
    # A linter takes a fixed path of a shared folder for one that is written to.
    noqa = "  # noqa: S108" if path.parts[:2] == ("/", "tmp") else ""
    return f'Path("{path.as_posix()}"){noqa}', f"`{path.as_posix()}`"


def _format(paths: list[str]) -> None:
    """As `make format` does, where ruff is installed: long names wrap otherwise."""
    if importlib.util.find_spec("ruff") is None:
        return
    command = [sys.executable, "-m", "ruff", "format", "--quiet", "--no-cache", *paths]
    subprocess.run(command, cwd=ROOT, check=False, capture_output=True)


def _link(name: str) -> None:
    """Name the new page where the others are named."""
    index = ROOT / "docs" / "usecase.md"
    line = f"- [{name}](usecases/{name}.md)\n"
    text = index.read_text(encoding="utf-8") if index.is_file() else ""
    if line not in text:
        text = text if MARK in text else f"{text.rstrip()}\n\n{MARK}\n"
        index.write_text(f"{text.rstrip()}\n{line}", encoding="utf-8")
