"""A model that is fine while it is loaded, and then does what its file says."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from typing import Any

import numpy as np

from registry.models.own import OwnPredictor
from registry.models.signature import Matrix


class Moody(OwnPredictor):
    """Answers `answer`, or what it `gives`. Once it serves it is in its `mood`: raises, dies, hangs, or takes `seconds`.

    A worker loads on another thread than the one that serves.
    """

    name = "moody"

    def __init__(self, model: bytes, threads: int = 1) -> None:
        self.features, self.outputs = 3, 1
        self._content: dict[str, Any] = json.loads(model)
        self._ballast = b"x" * int(self._content.get("ballast", 0))

    @classmethod
    def train(cls, *_: Any, **__: Any) -> bytes:
        raise NotImplementedError

    def predict(self, matrix: Matrix) -> Matrix:
        if threading.current_thread() is threading.main_thread():
            self._misbehave()
        return np.full((len(matrix), 1), float(self._content.get("gives", self._content["answer"])))

    def _misbehave(self) -> None:
        match self._content.get("mood", ""):
            case "raises":
                raise ValueError(self._content.get("words", "not in the mood"))
            case "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hangs":
                time.sleep(3600)
            case "slow":
                time.sleep(self._content["seconds"])


PREDICTORS = (Moody,)
