"""Stages that sum bytes, and do what certain bytes say once they serve."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from registry.errors import BadData
from registry.models.signature import Column, Input
from registry.models.stage import Stage

#: What a payload begins with, for a stage to misbehave.
REFUSE, RAISE, DIE, SLEEP = b"refuse", b"raise", b"die", b"sleep"


def serves() -> bool:
    """Whether this is a stage process that has started: it starts on another thread."""
    main = threading.current_thread() is threading.main_thread()
    return main and Path("/proc/self/comm").read_text().startswith("pen:")


class Sums(Stage):
    """The sum of the bytes of a payload."""

    name = "sums"
    inputs = (Input("payload", "bytes", missing="error"),)
    outputs = ("sum",)
    examples = ({"payload": b"\xff\x00\x01"}, {"payload": b"\xff" * 1000})

    def apply(self, columns: Mapping[str, Any]) -> Mapping[str, Column]:
        return {"sum": np.array([self.sum(payload) for payload in columns["payload"]])}

    def sum(self, payload: memoryview) -> float:
        self.obey(bytes(payload[:6]))
        return float(np.frombuffer(payload, np.uint8).sum(dtype=np.uint32))

    def obey(self, word: bytes) -> None:
        if word.startswith(REFUSE):
            raise BadData("the payload refuses", "it says so")
        if word.startswith(RAISE):
            raise ValueError("secret of the stage")
        if serves():
            if word.startswith(DIE):
                os.kill(os.getpid(), signal.SIGKILL)
            if word.startswith(SLEEP):
                time.sleep(0.3)


class Doubles(Sums):
    """Version 2, which gives twice as much."""

    version = 2

    def sum(self, payload: memoryview) -> float:
        return 2.0 * super().sum(payload)


class Raises(Sums):
    """Version 3, which fails on every payload once it serves."""

    version = 3
    word = RAISE

    def sum(self, payload: memoryview) -> float:
        if serves():
            self.obey(self.word)
        return super().sum(payload)


class Dies(Raises):
    """Version 4, whose process ends."""

    version = 4
    word = DIE


class Mixed(Stage):
    """Two columns of bytes and a number, for a model that takes three columns."""

    name = "mixed"
    inputs = (Input("left", "bytes"), Input("scale"), Input("right", "bytes"))
    outputs = ("distance", "hour", "carrier")
    examples = (
        {"left": b"DL", "scale": 0.5, "right": b"abc"},
        {"left": None, "scale": None, "right": b""},
    )
    batch = 4

    def apply(self, columns: Mapping[str, Any]) -> Mapping[str, Column]:
        return {
            "distance": columns["scale"],
            "hour": [len(right or b"") % 24 for right in columns["right"]],
            "carrier": [left and str(left, "utf-8") for left in columns["left"]],
        }


class Halves(Stage):
    """After a model: half of it, and the rest."""

    name = "halves"
    inputs = (Input("probability"),)
    outputs: ClassVar[tuple[str, ...]] = ("half", "rest")
    examples = ({"probability": 0.5},)

    def apply(self, columns: Mapping[str, Any]) -> Mapping[str, Column]:
        half = columns["probability"] / 2
        return {"half": half, "rest": 1 - half}


class Negates(Stage):
    """Numbers before a model, with the other sign."""

    name = "negates"
    inputs = tuple(Input(f"x{number}") for number in range(4))
    outputs = tuple(f"x{number}" for number in range(4))
    examples = ({"x0": 1.0, "x1": 2.0, "x2": None, "x3": 0.0},)

    def apply(self, columns: Mapping[str, Any]) -> Mapping[str, Column]:
        return {name: -column for name, column in columns.items()}


class Percent(Halves):
    """After a model, under the same name."""

    name = "percent"
    outputs = ("probability",)

    def apply(self, columns: Mapping[str, Any]) -> Mapping[str, Column]:
        return {"probability": 100 * columns["probability"]}


STAGES = (Sums, Doubles, Raises, Dies, Mixed, Halves, Negates, Percent)
