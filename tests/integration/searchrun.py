"""`penstock search flights …` on real data, of few days: `python -m tests.integration.searchrun …`.

The settings of flights with a window of two days and a gate that lets everything pass: a search
of many trials is to end in minutes, and a model of two days need not be good. Jobs are real.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from penstock.main import main
from registry.usecase import Gate
from usecases.flights import settings

#: Boosting rounds of whole trainings.
ROUNDS = 64


def small() -> None:
    """Make the use case one of few days, in this process."""
    lightgbm = {**settings.SETTINGS.algorithms["lightgbm"], "num_iterations": ROUNDS}
    settings.SETTINGS = replace(
        settings.SETTINGS,
        window_days=2,
        lookback_days=1,
        algorithms={"lightgbm": lightgbm},
        gate=Gate(min_auc_gain=-1.0, min_log_loss_gain=-1.0, max_log_loss_regression=1.0),
        horizons=(),
    )


if __name__ == "__main__":
    small()
    sys.exit(main())
