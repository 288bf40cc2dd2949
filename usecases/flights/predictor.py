"""Predictors of flights' own: names that `algorithms` in the settings may use.

`logistic` is what predicts the day ahead, where an additive model does better than trees. At
departure it is a yardstick: add it there to see what it makes of the same features.
"""

from __future__ import annotations

from registry.models.logistic import Logistic

PREDICTORS = (Logistic,)
