"""Predictors of flights' own: names that `algorithms` in the settings may use.

`logistic` is not among the algorithms that run every day; it is a yardstick: add it there to see
what a linear model makes of the same features.
"""

from __future__ import annotations

from registry.models.logistic import Logistic

PREDICTORS = (Logistic,)
