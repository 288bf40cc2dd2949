"""Builds the evaluator's sources for tests: a program around them, and a sanitised library."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

import registry.models.forest
from registry.models.forest.image import build_image
from registry.models.signature import Matrix
from setup import FLAGS
from tests.registry.models.forest.drawn import Drawn

NATIVE = Path(registry.models.forest.__file__).parent / "native"
SOURCES = [str(NATIVE / "forest.c"), str(NATIVE / "check.c")]
SANITISED = ["-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
STRICT = ["-Wpedantic", "-Wconversion", "-Wno-sign-conversion", "-Wshadow", "-Werror"]


def compiler() -> str:
    """A C compiler, or a skipped test."""
    found = shutil.which("gcc") or shutil.which("clang") or shutil.which("cc")
    if not found:
        pytest.skip("no C compiler")
    return found


def build(target: Path, *flags: str, driver: bool = True) -> Path:
    """Compile with the flags of setup.py and `flags`; the driver with it unless it is a library."""
    own = Path(__file__).with_name("driver.c")
    command = [compiler(), *FLAGS, *flags, f"-I{NATIVE}", *SOURCES, *([str(own)] if driver else [])]
    subprocess.run([*command, "-o", str(target), "-lm"], check=True, timeout=3000)
    return target


def write_frame(path: Path, model: Drawn, rows: Matrix) -> None:
    """What the driver reads."""
    image = build_image(model.text)
    sizes = struct.pack("=4Q", len(image), len(rows), model.features, model.outputs)
    path.write_bytes(sizes + image + rows.tobytes())


def run(program: Path, *words: object, under: tuple[str, ...] = ()) -> tuple[bytes, str]:
    """Stdout and stderr of the driver, which must end well."""
    command = [*under, str(program), *map(str, words)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=3000)
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")[-3000:]
    return done.stdout, done.stderr.decode()


def scores_of(stdout: bytes, rows: int, outputs: int) -> Matrix:
    """The driver's raw scores: designs × rows × outputs."""
    return np.frombuffer(stdout, dtype=np.float64).reshape(-1, rows, outputs)


def sanitised_library(target: Path) -> tuple[Path, dict[str, str]]:
    """The library with sanitisers, and the environment in which Python can load it."""
    path = build(target, "-shared", "-fPIC", *SANITISED, driver=False)
    # libstdc++ as well: the sanitiser must have seen it before LightGBM throws anything.
    runtime = " ".join(_runtime(name) for name in ("libasan.so", "libstdc++.so.6"))
    # Python and LightGBM keep memory to the end; only what this library touches is of interest.
    options = "detect_leaks=0:alloc_dealloc_mismatch=0:abort_on_error=1"
    return path, {"LD_PRELOAD": runtime, "ASAN_OPTIONS": options, "PENSTOCK_TEST_FOREST": str(path)}


def _runtime(name: str) -> str:
    command = [compiler(), f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
