"""CatBoost models (cbm) through the library, on the same matrix of codes as LightGBM.

CatBoost reads float32 features. Integer codes below 2**24 survive that exactly; a float64 that
lies within half a float32 step of a split may fall on its other side, as everywhere in CatBoost.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import catboost
import numpy as np

from registry.errors import BadData
from registry.models.matrix import check_shape

if TYPE_CHECKING:
    from registry.models.bundle import Link
    from registry.models.signature import Matrix

#: Written in place of what differs between two runs of one recipe.
_NORMAL = {
    "train_finish_time": "1970-01-01T00:00:00Z",
    "model_guid": "00000000-00000000-00000000-00000000",
}
_LINKS: dict[str, Link] = {
    "Logloss": "logistic",
    "CrossEntropy": "logistic",
    "MultiClass": "softmax",
}
_RAW = {"RMSE", "MAE", "Quantile", "Huber", "MAPE", "LogCosh", "Expectile", "Poisson", "Tweedie"}


class CatBoostPredictor:
    """A CatBoost `model` on `threads` threads, with inputs `names`, `outputs` values per row."""

    def __init__(self, model: bytes, link: Link | None, threads: int = 1) -> None:
        """Load a cbm.

        Raises:
            BadData: the library refuses the bytes, or the model takes categorical, text or
                embedding features, which a float64 matrix cannot carry.
        """
        self.model = _load(model)
        _refuse_unsupported(self.model)
        self._threads = threads
        self._kind = "RawFormulaVal" if link in (None, "identity") else "Probability"
        # Of the two columns of a binary model only the probability of the label is kept.
        self._first = 1 if link == "logistic" else 0
        self.names = tuple(map(str, self.model.feature_names_))
        self.features = len(self.names)
        self.outputs = self._predict(np.full((1, self.features), np.nan)).shape[1]

    def predict(self, matrix: Matrix) -> Matrix:
        """Outputs of shape (rows, outputs); see `Predictor.predict`.

        A matrix of float32, column by column, is not copied.
        """
        check_shape(matrix, self.features)
        if not len(matrix):
            return np.empty((0, self.outputs), dtype=np.float64)
        return self._predict(matrix)

    def close(self) -> None:
        """Drop the model; its memory goes with the last reference."""
        self.model = None

    def _predict(self, rows: Matrix) -> Matrix:
        with np.errstate(over="ignore"):
            # Column order and float32 are what the library computes on; it converts more slowly.
            columns = np.asfortranarray(rows, dtype=np.float32)
        pool = catboost.Pool(columns, thread_count=1)
        out = self.model.predict(
            pool, prediction_type=self._kind, thread_count=self._threads if len(rows) > 1 else 1
        )
        out = np.asarray(out, dtype=np.float64).reshape(len(rows), -1)
        return np.ascontiguousarray(out[:, self._first :])


def _load(model: bytes) -> Any:
    loaded = catboost.CatBoost()
    try:
        loaded.load_model(blob=model)
    except catboost.CatBoostError as error:
        raise BadData(
            "CatBoost refuses the model",
            str(error).splitlines()[0][:300],
            "Train it again, or export it again with save_model(format='cbm').",
        ) from None
    return loaded


def _refuse_unsupported(model: Any) -> None:
    """Raise BadData where the model takes features that are not numbers."""
    kinds = {
        "categorical": model.get_cat_feature_indices(),
        "text": model.get_text_feature_indices(),
        "embedding": model.get_embedding_feature_indices(),
    }
    for kind, indices in kinds.items():
        if indices:
            names = [model.feature_names_[index] for index in indices]
            raise BadData(
                f"the CatBoost model takes {kind} features: {', '.join(names[:8])}",
                "both flavors run on one float64 matrix, with integer codes for categories",
                "Train it with categories as integer codes (cat_features unset).",
            )


def link_of(model: Any) -> Link:
    """The link that fits the loss the model was trained with.

    Raises:
        BadData: the loss is not recorded, or not one whose outputs are known here.
    """
    try:
        parameters = json.loads(model.get_metadata()["params"])
        loss = parameters["loss_function"]["type"]
    except (KeyError, TypeError, ValueError):
        raise BadData("the CatBoost model does not say its loss", "params are absent") from None
    if loss in _LINKS or loss in _RAW:
        return _LINKS.get(loss, "identity")
    known = ", ".join(sorted(_LINKS.keys() | _RAW))
    raise BadData(f"CatBoost's loss {loss} is not supported", f"known are {known}")


def to_bytes(model: Any) -> bytes:
    """The cbm of a trained model, without what differs between two runs of one recipe."""
    metadata = model.get_metadata()
    for key, value in _NORMAL.items():
        metadata[key] = value
    with tempfile.TemporaryDirectory(prefix="penstock-") as folder:
        path = Path(folder) / "model.cbm"
        model.save_model(str(path), format="cbm")
        return path.read_bytes()
