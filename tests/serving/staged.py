"""Bundles with the stages of `moods/team/payloads`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import usecases
from registry.models.building import build_bundle, build_identity
from registry.models.bundle import Bundle
from tests.serving import models
from tests.serving.conftest import ROWS
from tests.serving.rig import EXAMPLES

EXAMPLES["sums"] = {"payload": "AQID"}

_TEAM = str(Path(__file__).parent / "moods" / "team")


@contextmanager
def known() -> Iterator[None]:
    """Here the team's use cases are found; elsewhere tests look at those that are shipped."""
    usecases.__path__.append(_TEAM)
    try:
        yield
    finally:
        usecases.__path__.remove(_TEAM)


@known()
def sums(folder: Path, version: int = 1) -> Bundle:
    """A bundle that answers the sum of the bytes of its payload; twice that in version 2.

    Version 3 raises, version 4 ends its process, once they serve.
    """
    from usecases.payloads import stages  # type: ignore[import-not-found]

    folder.mkdir(parents=True)
    every = stages.STAGES
    stages.STAGES = tuple(s for s in every if s.name != "sums" or s.version <= version)
    try:
        return build_identity(folder, "payloads/sums")
    finally:
        stages.STAGES = every


@known()
def numeric(folder: Path, trained: Bundle, pre: str = "", post: str = "") -> Bundle:
    """The model of `trained`, which takes four numbers, with or without stages."""
    folder.mkdir(parents=True)
    rows = [models.row(models.NUMERIC, number) for number in range(3)]
    return build_bundle(
        folder, flavor="lightgbm", model=trained.model_bytes(), link=None,
        signature=models.NUMERIC, rows=rows, pre=pre, post=post,
    )  # fmt: skip


@known()
def mixed(folder: Path, trained: Bundle, *, post: str = "payloads/halves") -> Bundle:
    """The model of `trained` between two stages."""
    folder.mkdir(parents=True)
    return build_bundle(
        folder, flavor="lightgbm", model=trained.model_bytes(), link=None,
        signature=models.SIGNATURE, rows=ROWS[:3], pre="payloads/mixed", post=post,
    )  # fmt: skip
