"""Opening the model of a bundle, whatever its library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.errors import BadData
from registry.models.golden import check_golden
from registry.models.own import Own, OwnPredictor, open_own
from registry.models.protocol import Predictor

if TYPE_CHECKING:
    from registry.models.bundle import Bundle, Flavor, Link
    from registry.models.catboost import CatBoostPredictor
    from registry.models.lightgbm import LightGBMPredictor


def open_predictor(bundle: Bundle, threads: int = 1) -> Predictor:
    """Load the model of `bundle`, to predict on up to `threads` threads.

    The file's digest is verified first, which is what protects the native parser. Each flavor's
    library is imported only when one of its models is opened.

    Raises:
        NotFound, Corrupt: see `Bundle.model_bytes`.
        BadData: the library refuses the file, its shape is not that of the signature, or this code
            lacks the use case's own predictor in the version that the bundle names.
    """
    header = bundle.header
    predictor = open_model(
        bundle.model_bytes(), header.flavor, header.model.link, threads, own=header.own
    )
    found = (predictor.features, predictor.outputs)
    want = (len(bundle.signature.inputs), len(bundle.signature.outputs))
    if found != want:
        predictor.close()
        raise BadData(
            f"{bundle.model_path} does not fit its signature",
            f"it has {found[0]} inputs and {found[1]} outputs, the signature {want[0]} and {want[1]}",
            "Write the bundle again.",
        )
    return predictor


def open_model(
    model: bytes, flavor: Flavor, link: Link | None, threads: int = 1, *, own: Own | None = None
) -> LightGBMPredictor | CatBoostPredictor | OwnPredictor:
    """Load the bytes of a native model file; see `open_predictor`, which verifies them first."""
    if own is not None:
        return open_own(model, own, threads)
    if flavor == "lightgbm":
        from registry.models.lightgbm import LightGBMPredictor

        return LightGBMPredictor(model, threads)
    from registry.models.catboost import CatBoostPredictor

    return CatBoostPredictor(model, link, threads)


def open_checked(bundle: Bundle, threads: int = 1) -> Predictor:
    """`open_predictor`, then the golden rows. Raises GoldenMismatch when they differ."""
    predictor = open_predictor(bundle, threads)
    try:
        check_golden(predictor, bundle.signature, bundle.golden)
    except BaseException:
        predictor.close()
        raise
    return predictor
