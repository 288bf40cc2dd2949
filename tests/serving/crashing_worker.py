"""A worker process whose model crashes, raises or dawdles on certain values.

Run as `python -m tests.serving.crashing_worker DESCRIPTOR`; the descriptor is its channel.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from registry.models.signature import Matrix
from serving.channel import Channel
from serving.worker import Worker

DEADLY, RAISING, SLOW = 666.0, 13.0, 7.0
#: Seconds that a batch with a slow value takes.
DAWDLE = 0.2


class Predictor:
    """Doubles the first column, unless a value of it means trouble."""

    def predict(self, matrix: Matrix) -> Matrix:
        first = matrix[:, :1]
        if (first == DEADLY).any():
            os.kill(os.getpid(), signal.SIGKILL)
        if (first == RAISING).any():
            raise ValueError("thirteen")
        if (first == SLOW).any():
            time.sleep(DAWDLE)
        return first * 2

    def close(self) -> None:
        """Nothing to free."""


if __name__ == "__main__":
    Worker(Channel.adopt(int(sys.argv[1])), Predictor()).run()
