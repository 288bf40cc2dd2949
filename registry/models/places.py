"""Where a request can be on its way through a model and its stages."""

from __future__ import annotations

from typing import Literal

#: The stage before the model, and the one after it.
Place = Literal["pre", "post"]
Leg = Literal["pre", "model", "post"]
