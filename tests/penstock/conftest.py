"""A folder with a store, two imported models and rows to score; and the command run in it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from penstock.main import main

ENVIRONMENT = "dev/tester"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Place:
    """A working directory; commands run there see nothing else."""

    folder: Path

    def run(self, *words: str | Path, **env: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "penstock", *map(str, words)],
            cwd=self.folder,
            env=self.environ | env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def call(self, *words: str | Path, **env: str) -> Done:
        """The same within this process, which is quicker."""
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.folder),
            mock.patch.dict(os.environ, self.environ | env),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = main([*map(str, words)])
        return Done(code, out.getvalue(), err.getvalue())

    def ok(self, *words: str | Path, **env: str) -> Done:
        """Call, and expect success."""
        done = self.call(*words, **env)
        assert done.code == 0, done.err
        return done

    @property
    def environ(self) -> dict[str, str]:
        return dict(os.environ) | {"PENSTOCK_ENVIRONMENT": ENVIRONMENT, "PENSTOCK_WHO": "tester"}

    @property
    def root(self) -> Path:
        return self.folder / "var/store" / ENVIRONMENT

    def one(self, pattern: str) -> Path:
        """The one file below the environment's root that matches."""
        (found,) = self.root.glob(pattern)
        return found

    def damage(self, pattern: str, data: bytes) -> None:
        path = self.one(pattern)
        path.chmod(0o644)
        path.write_bytes(data)


@dataclass(frozen=True)
class Imported(Place):
    """A place with the models `first` (live at churn@champion) and `second`."""

    first: str
    second: str


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="session")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """first.txt and second.txt (LightGBM), and rows.parquet with their inputs and an id."""
    import lightgbm
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("models")
    random = np.random.default_rng(0)
    origins = random.choice(["JFK", "EWR", "LGA"], 300)
    frame = pd.DataFrame({"hour": random.integers(0, 24, 300), "temp": random.normal(size=300)})
    frame["origin"] = pd.Categorical(origins)
    data = lightgbm.Dataset(frame, (frame.hour > 12).astype(int), free_raw_data=False)
    parameters = {"objective": "binary", "verbosity": -1, "num_threads": 1}
    for name, trees in (("first", 3), ("second", 5)):
        lightgbm.train(parameters, data, trees).save_model(folder / f"{name}.txt")
    frame["origin"] = origins
    pq.write_table(pa.table(frame.assign(id=range(300))), folder / "rows.parquet")
    return folder


@pytest.fixture(scope="session")
def template(model_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Imported:
    """Made once by the command itself; tests work on copies."""
    folder = tmp_path_factory.mktemp("template")
    shutil.copytree(model_files, folder, dirs_exist_ok=True)
    place = Place(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("PENSTOCK_", "AWS_"))]:
            patch.delenv(name)
        patch.setenv("NO_COLOR", "1")
        words = ("import", "first.txt", "--name", "churn", "--sample", "rows.parquet", "--json")
        first = place.ok(*words, "--alias", "champion", "--why", "the first").document
        second = place.ok("import", "second.txt", "--name", "churn", "--json").document
    return Imported(folder, first["manifest"]["key"], second["manifest"]["key"])


@pytest.fixture
def imported(template: Imported, tmp_path: Path) -> Imported:
    """A copy of the template. Its heads belong to the template's store, so they start behind."""
    folder = tmp_path / "place"
    shutil.copytree(template.folder, folder)
    return Imported(folder, template.first, template.second)
