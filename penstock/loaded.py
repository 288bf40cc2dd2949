"""A model of the store, ready to predict in this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from penstock.artifacts import Artifact, cache_of
from registry.artifacts.store import open_environment
from registry.errors import BadData, UsageError
from registry.models.bundle import Bundle
from registry.models.predictor import open_checked
from registry.models.protocol import Predictor
from registry.models.signature import Encoder, Matrix, Signature
from registry.names import find_named
from registry.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Model:
    """A loaded model; use it in a `with` block, or `close` it, to free native memory early."""

    artifact: Artifact
    bundle: Bundle
    predictor: Predictor

    @property
    def signature(self) -> Signature:
        """Its ordered inputs and its outputs."""
        return self.bundle.signature

    @property
    def key(self) -> str:
        """The recipe key of the artifact."""
        return self.artifact.key

    def predict(self, frame: Any) -> Any:
        """The outputs for every row of `frame`, in the kind of frame that was given.

        An Arrow table gives an Arrow table, a pandas frame one with the same index, and a mapping
        of columns a dictionary of arrays, float64 of shape (rows,). Columns that are no inputs
        are left alone.

        Raises:
            BadData: an input is missing, or a value does not fit the signature.
            UsageError: `frame` is none of these three.
        """
        if isinstance(frame, Mapping):
            return self._named(self.predictor.predict(self._of_mapping(frame)))
        kind = type(frame).__module__.partition(".")[0]
        if kind == "pandas":
            return self._predict_pandas(frame)
        if kind == "pyarrow":
            return self._predict_arrow(frame)
        raise UsageError(
            f"a {type(frame).__name__} is not a frame",
            "an Arrow table, a pandas DataFrame or a mapping of columns is needed",
            "For one row, pass {name: [value], …}.",
        )

    def close(self) -> None:
        """Free the model; it cannot predict afterwards."""
        self.predictor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<model {self.artifact.manifest.model} {self.key[:16]}, {self.bundle.flavor}>"

    def _named(self, outputs: Matrix) -> dict[str, Any]:
        return {o.name: outputs[:, place] for place, o in enumerate(self.signature.outputs)}

    def _of_mapping(self, columns: Mapping[str, Any]) -> Matrix:
        inputs = {name: columns[name] for name in self.signature.names if name in columns}
        return Encoder(self.signature).encode_columns(inputs)

    def _predict_arrow(self, table: pa.Table) -> pa.Table:
        import pyarrow as pa

        from registry.models.tables import encode_table

        return pa.table(self._named(self.predictor.predict(encode_table(self.signature, table))))

    def _predict_pandas(self, frame: Any) -> Any:
        import pandas as pd
        import pyarrow as pa

        from registry.models.tables import encode_table

        inputs = frame[[name for name in self.signature.names if name in frame.columns]]
        try:
            table = pa.Table.from_pandas(inputs, preserve_index=False)
        except pa.ArrowException as error:
            raise BadData("the frame mixes types within a column", str(error)) from None
        outputs = self.predictor.predict(encode_table(self.signature, table))
        return pd.DataFrame(self._named(outputs), index=frame.index)


def open_model(name: str, *, store: str | None, environment: str | None, threads: int) -> Model:
    """See `penstock.load`."""
    settings = Settings.load(store=store, environment=environment)
    root = open_environment(settings)
    artifact = Artifact(*find_named(settings, root, name), root, cache_of(settings))
    bundle = Bundle.read(artifact.path)
    return Model(artifact, bundle, open_checked(bundle, threads))
