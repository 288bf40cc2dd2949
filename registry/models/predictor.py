"""Opening the model of a bundle, whatever its library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from registry.errors import BadData, Refused
from registry.logs import get_logger
from registry.models.golden import check_golden
from registry.models.own import Own, OwnPredictor, open_own
from registry.models.protocol import Predictor
from registry.settings import Settings

if TYPE_CHECKING:
    from registry.models.bundle import Bundle, Flavor, Link
    from registry.models.catboost import CatBoostPredictor
    from registry.models.forest.evaluator import ForestPredictor
    from registry.models.identity import IdentityPredictor
    from registry.models.lightgbm import LightGBMPredictor

    Opened = LightGBMPredictor | CatBoostPredictor | IdentityPredictor | OwnPredictor

log = get_logger(__name__)


def open_predictor(bundle: Bundle, threads: int = 1, images: Path | None = None) -> Predictor:
    """Load the model of `bundle`, to predict on up to `threads` threads.

    The file's digest is verified first, which is what protects the native parser. Each flavor's
    library is imported only when one of its models is opened. A LightGBM model runs through the
    evaluator of `registry.models.forest` where it can; processes that name the same folder
    `images` share its memory.

    Raises:
        NotFound, Corrupt: see `Bundle.model_bytes`.
        BadData: the library refuses the file, its shape is not that of the signature, or this code
            lacks the use case's own predictor in the version that the bundle names.
    """
    header = bundle.header
    model = bundle.model_bytes()
    predictor: ForestPredictor | Opened | None = None
    if header.flavor == "lightgbm" and Settings.load().forest:
        predictor = _open_forest(model, header.model.sha256, threads, images)
    if predictor is None:
        predictor = open_model(model, header.flavor, header.model.link, threads, own=header.own)
    _check_width(predictor, bundle)
    return predictor


def open_shared(bundle: Bundle, images: Path) -> ForestPredictor | None:
    """The model of `bundle` by the image that another process has made of it; None: there is none.

    The model file is not read: whoever made the image has verified it.

    Raises:
        BadData: the image is malformed, or its shape is not that of the signature.
    """
    from registry.models.forest.evaluator import open_found

    predictor = open_found(bundle.header.model.sha256, images)
    if predictor is not None:
        _check_width(predictor, bundle)
    return predictor


def images_of(settings: Settings) -> Path:
    """Where processes of this machine share images of models."""
    return Path(settings.var).absolute() / "cache" / "forest"


def _check_width(predictor: ForestPredictor | Opened, bundle: Bundle) -> None:
    found = (predictor.features, predictor.outputs)
    want = (len(bundle.signature.inputs), len(bundle.signature.outputs))
    if found != want:
        predictor.close()
        raise BadData(
            f"{bundle.model_path} does not fit its signature",
            f"it has {found[0]} inputs and {found[1]} outputs, the signature {want[0]} and {want[1]}",
            "Write the bundle again.",
        )


def _open_forest(
    model: bytes, digest: str, threads: int, images: Path | None
) -> ForestPredictor | None:
    """The model in the native evaluator; None, and a line of log, where the library must do."""
    from registry.models.forest.errors import Unsupported
    from registry.models.forest.evaluator import open_forest

    try:
        return open_forest(model, digest, threads, images)
    except Unsupported as reason:
        log.warning("a model runs through LightGBM's library, slower", reason=str(reason))
        return None


def open_model(
    model: bytes, flavor: Flavor, link: Link | None, threads: int = 1, *, own: Own | None = None
) -> Opened:
    """Load the bytes of a model file in the library that wrote it.

    Golden rows are recorded with this, so that checking them compares evaluators.
    """
    if own is not None:
        return open_own(model, own, threads)
    if flavor == "identity":
        from registry.models.identity import IdentityPredictor

        return IdentityPredictor(model)
    if flavor == "lightgbm":
        from registry.models.lightgbm import LightGBMPredictor

        return LightGBMPredictor(model, threads)
    from registry.models.catboost import CatBoostPredictor

    return CatBoostPredictor(model, link, threads)


def open_checked(bundle: Bundle, threads: int = 1, *, bare: bool = False) -> Predictor:
    """`open_predictor`, then the golden rows.

    Raises:
        GoldenMismatch: the outputs are not those that were recorded.
        Refused: the bundle has stages, without which it answers something else than a service does;
            unless its `bare` model is asked for.
    """
    if bundle.header.stages.places and not bare:
        raise Refused(
            "the model has stages, which only a service runs",
            ", ".join(str(bundle.header.stages.at(place)) for place in bundle.header.stages.places),
            "Ask a service that serves it: penstock serve.",
        )
    predictor = open_predictor(bundle, threads)
    try:
        check_golden(predictor, bundle.signature, bundle.golden)
    except BaseException:
        predictor.close()
        raise
    return predictor
