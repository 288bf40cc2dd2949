"""Make a bundle from the bytes of a model and a few rows to remember it by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from registry.models.bundle import Bundle, Flavor, Link, ViewVersion, write_bundle
from registry.models.golden import make_golden
from registry.models.own import Own
from registry.models.predictor import open_model
from registry.models.signature import Signature


def build_bundle(
    folder: Path,
    *,
    flavor: Flavor,
    model: bytes,
    link: Link | None,
    signature: Signature,
    rows: Sequence[Mapping[str, Any]],
    view: ViewVersion | None = None,
    stages: Mapping[str, int] | None = None,
    own: Own | None = None,
) -> Bundle:
    """Write a bundle whose golden rows are `rows`, and one of all missing where allowed.

    Raises:
        BadData: the library refuses the model, or a row does not fit the signature.
    """
    predictor = open_model(model, flavor, link, own=own)
    try:
        golden = make_golden(predictor, signature, rows, flavor)
    finally:
        predictor.close()
    return write_bundle(
        folder,
        flavor=flavor,
        model=model,
        link=link,
        signature=signature,
        golden=golden,
        view=view,
        stages=stages,
        own=own,
    )
