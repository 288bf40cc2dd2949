"""Make a bundle from the bytes of a model and a few rows to remember it by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from registry.models.bundle import Bundle, Flavor, Link, ViewVersion, write_bundle
from registry.models.golden import make_golden
from registry.models.identity import IdentityPredictor, identity
from registry.models.own import Own
from registry.models.predictor import open_model
from registry.models.signature import Input, Output, Signature
from registry.models.stage import newest_stage, record_stage
from registry.models.stages import Stages


def build_bundle(
    folder: Path,
    *,
    flavor: Flavor,
    model: bytes,
    link: Link | None,
    signature: Signature,
    rows: Sequence[Mapping[str, Any]],
    view: ViewVersion | None = None,
    pre: str = "",
    post: str = "",
    own: Own | None = None,
) -> Bundle:
    """Write a bundle whose golden rows are `rows`, and one of all missing where allowed.

    `pre` and `post` are the stages before and after the model, as `usecase/name`; empty: none.

    Raises:
        BadData: the library refuses the model, a row does not fit the signature, or there is no such
            stage, it does not fit the model, or it fails on its examples.
    """
    stages = _stages(pre, post, signature)
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


def build_identity(folder: Path, pre: str, post: str = "") -> Bundle:
    """Write a bundle that has no model: what the stage `pre` makes is the answer, or goes to `post`.

    Raises:
        BadData: there is no such stage, or it fails on its examples.
    """
    names = newest_stage(pre).outputs
    signature = Signature(
        tuple(Input(name, missing="error") for name in names), tuple(map(Output, names))
    )
    stages = _stages(pre, post, signature)
    assert stages.pre is not None
    rows = [dict(zip(names, made, strict=True)) for made in stages.pre.recorded.outputs]
    model = identity(len(names))
    golden = make_golden(IdentityPredictor(model), signature, rows, "identity")
    return write_bundle(
        folder, flavor="identity", model=model, signature=signature, golden=golden, stages=stages
    )


def _stages(pre: str, post: str, signature: Signature) -> Stages:
    return Stages(
        record_stage(pre, "pre", signature) if pre else None,
        record_stage(post, "post", signature) if post else None,
    )
