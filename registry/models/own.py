"""Models of a use case's own: a small class in `usecases/<name>/predictor.py`.

The store holds the bytes of a model and *names* the class that reads them: use case, name and
version. The class itself always comes from the code that is installed; nothing is ever loaded from
the store, and only modules `usecases.<name>.predictor` are looked at.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec

from registry.errors import BadData, PenstockError
from registry.models.offered import offered

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from registry.models.signature import Matrix, Signature

#: Formats of a model file. None of them makes a reader run what the file says.
Format = Literal["json", "ubj", "onnx", "npz", "safetensors", "txt"]


class Own(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which class reads a model: `PREDICTORS` of the use case, by name and version."""

    usecase: str
    name: str
    version: int
    format: Format

    def __str__(self) -> str:
        return f"{self.usecase}/{self.name} version {self.version}"


class OwnPredictor(ABC):
    """A model of your own; derive from it and list the class in `PREDICTORS`.

    `name` is what the settings' `algorithms` call it. Raise `version` when the class reads or
    computes something else; list the old class as well while its models are in use. `rtol` is the
    largest relative difference that a golden row may show (1e-5 suits float32 models).
    `parameters` maps the hyperparameters that it takes to their defaults.

    `__init__` sets `features` and `outputs`, the columns of the matrices that `predict` takes and
    gives. What it raises becomes BadData.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    format: ClassVar[Format] = "json"
    rtol: ClassVar[float] = 1e-9
    parameters: ClassVar[Mapping[str, Any]] = {}

    features: int
    outputs: int

    @abstractmethod
    def __init__(self, model: bytes, threads: int = 1) -> None:
        """Read a `model` that `train` gave."""

    @classmethod
    @abstractmethod
    def train(
        cls,
        signature: Signature,
        matrix: Matrix,
        labels: NDArray[np.float64],
        *,
        parameters: Mapping[str, Any],
        seed: int,
        threads: int,
    ) -> bytes:
        """A model file from `matrix` (rows, inputs) and `labels` (0 or 1).

        Categories are integer codes, what is missing is NaN. `parameters` are complete. The same
        arguments must give the same bytes: `seed` and `threads` come from the recipe.
        """

    @abstractmethod
    def predict(self, matrix: Matrix) -> Matrix:
        """Outputs of shape (rows, outputs); see `Predictor.predict`."""

    def close(self) -> None:
        """Free what the model holds outside Python's memory; nothing by default."""
        return


def own_predictors(usecase: str) -> tuple[type[OwnPredictor], ...]:
    """The classes that `usecases/<usecase>/predictor.py` lists; none where it is absent.

    Raises:
        BadData: the module defines no `PREDICTORS`, or lists what is no such class.
    """
    return offered(usecase, "predictor", "PREDICTORS", OwnPredictor)


def newest(usecase: str, name: str) -> type[OwnPredictor] | None:
    """The class `name` of a use case in its highest version."""
    named = [each for each in own_predictors(usecase) if each.name == name]
    return max(named, key=lambda each: each.version, default=None)


def open_own(model: bytes, own: Own, threads: int = 1) -> OwnPredictor:
    """Load a model by the class that `own` names.

    Raises:
        BadData: this code lacks that class or that version of it, or the class refuses the model.
    """
    offered = own_predictors(own.usecase)
    for each in offered:
        if (each.name, each.version, each.format) == (own.name, own.version, own.format):
            return _opened(each, model, own, threads)
    has = ", ".join(f"{each.name} version {each.version} ({each.format})" for each in offered)
    raise BadData(
        f"the model needs the predictor {own} ({own.format})",
        f"this code has {has or 'none'} in usecases/{own.usecase}/predictor.py",
        "Use the code that made the model, or train it again with this one.",
    )


def refuse_pickle(model: bytes) -> None:
    """Raise BadData for what begins like a pickle: reading one runs what it says."""
    if model[:1] == b"\x80" and model[1:2] <= b"\x08":
        raise BadData(
            "the model looks like a pickle, which is never opened",
            "reading one runs what it says",
            "Store the library's native format, or the coefficients as JSON.",
        )


def _opened(kind: type[OwnPredictor], model: bytes, own: Own, threads: int) -> OwnPredictor:
    refuse_pickle(model)
    try:
        return kind(model, threads)
    except (PenstockError, MemoryError):
        raise
    except Exception as error:
        raise BadData(
            f"the predictor {own} refuses the model",
            f"{type(error).__name__}: {error}",
            "Train it again, or raise the version of the class where it reads something else.",
        ) from error
