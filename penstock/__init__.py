"""penstock in a notebook or a script.

>>> import penstock
>>> model = penstock.load("flights@champion")            # doctest: +SKIP
>>> model.predict({"origin": ["JFK"], "hour": [18]})     # doctest: +SKIP
{'probability': array([0.31])}

The same settings hold as for the command line (PENSTOCK_STORE, PENSTOCK_ENVIRONMENT).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from penstock.artifacts import Artifact
    from penstock.loaded import Model

__all__ = ["artifact", "evaluations", "find", "load"]


def load(
    name: str, *, store: str | None = None, environment: str | None = None, threads: int = 1
) -> Model:
    """The model that `name` means: `flights@champion`, or the first 16 digits or more of a key.

    Its files are verified against their digests and its golden rows are predicted first.

    Raises:
        UsageError: the name is malformed, or means something other than a model.
        NotFound: there is no such model, or nothing is live at the alias.
        Corrupt: bytes in the store differ from their digest.
        GoldenMismatch: the model does not give here what it gave when it was made.
    """
    from penstock.loaded import open_model

    return open_model(name, store=store, environment=environment, threads=threads)


def artifact(key: str, *, store: str | None = None, environment: str | None = None) -> Artifact:
    """The artifact whose key starts with `key` (16 digits or more), or an alias's model.

    Raises:
        UsageError: the key is malformed.
        NotFound: there is no such artifact.
        BadData, Corrupt: its manifest is damaged.
    """
    from penstock.artifacts import open_artifact

    return open_artifact(key, store=store, environment=environment)


def find(
    family: str, name: str, *, store: str | None = None, environment: str | None = None
) -> list[Artifact]:
    """The artifacts of a family ("model", "features", "predictions", …) of `name`, by date.

    What was retracted is left out.

    Raises:
        BadData, Corrupt: a manifest is damaged.
    """
    from penstock.listed import find_artifacts

    return find_artifacts(family, name, store=store, environment=environment)


def evaluations(name: str, *, store: str | None = None, environment: str | None = None) -> pa.Table:
    """Every evaluation of a use case: date, algorithm, hyperparameters, keys, and the metrics.

    Raises:
        BadData, Corrupt: a manifest is damaged.
    """
    from penstock.listed import evaluations_of

    return evaluations_of(name, store=store, environment=environment)
