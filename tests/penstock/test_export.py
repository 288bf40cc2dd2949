"""`penstock export`: a file, what was measured, and refusals that write nothing."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from pathlib import Path

import onnxruntime
import pytest

from registry.artifacts.commit import Output, commit
from registry.artifacts.key import Recipe
from registry.artifacts.manifest import Reference
from registry.artifacts.store import Store, open_store
from tests.penstock.conftest import Imported
from tests.registry.makers import a_producer, an_attempt

WORDS = ("export", "churn@champion", "--onnx", "churn.onnx")


def test_an_imported_model_takes_a_sample(imported: Imported) -> None:
    refused = imported.call(*WORDS)
    assert refused.code == 64
    assert "Give rows with its inputs: --sample rows.parquet" in refused.err
    done = imported.ok(*WORDS, "--sample", "rows.parquet")
    assert "over golden rows and 300 others, allowed 1e-05" in done.out
    facts = json.loads((imported.folder / "churn.onnx.json").read_text())
    assert facts["key"] == imported.first
    assert facts["deviation"]["rows"] == 300
    session = onnxruntime.InferenceSession(str(imported.folder / "churn.onnx"))
    assert session.get_inputs()[0].shape[1] == len(facts["signature"]["inputs"])


def test_json_names_the_files(imported: Imported) -> None:
    document = imported.ok(*WORDS, "--sample", "rows.parquet", "--json").document
    assert (document["onnx"], document["facts"]) == ("churn.onnx", "churn.onnx.json")
    assert 0 < document["deviation"]["sample"] < document["deviation"]["tolerance"]


def test_above_the_tolerance_nothing_is_written(imported: Imported) -> None:
    done = imported.call(*WORDS, "--sample", "rows.parquet", "--tolerance", "1e-15")
    assert done.code == 77
    assert "more than 1e-15" in done.err
    assert not list(imported.folder.glob("churn.onnx*"))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("export", "churn@champion"), 64),
        ((*WORDS, "--tolerance", "0"), 64),
        ((*WORDS, "--sample", "nowhere.parquet"), 66),
        ((*WORDS, "--sample", "first.txt"), 65),
        (("export", "churn@nobody", "--onnx", "x"), 66),
        (("export", "churn@champion", "--onnx", "no/x", "--sample", "rows.parquet"), 73),
    ],
)
def test_words_that_are_off(imported: Imported, words: tuple[str, ...], code: int) -> None:
    assert imported.call(*words).code == code


def put(store: Store, recipe: Recipe, files: dict[str, bytes], *inputs: Reference) -> Reference:
    """An artifact with these files, made from `inputs` in the role `features`."""
    with tempfile.TemporaryDirectory() as name:
        for path, data in files.items():
            Path(name, path).write_bytes(data)
        attempt = an_attempt(store, recipe, references={"features": list(inputs)} if inputs else {})
        done = commit(store, attempt, Output(Path(name)), a_producer(attempt))
        return done.manifest.reference(done.path)


def test_rows_are_of_the_last_day_that_was_learnt_from(imported: Imported) -> None:
    store = open_store(str(imported.root))
    rows = (imported.folder / "rows.parquet").read_bytes()
    date = dt.date(2020, 1, 1).isoformat()
    day = put(store, Recipe("features", "churn", 1, date=date), {"features.parquet": rows})
    manifest = json.loads(
        imported.one(f"manifests/model/**/*{imported.first[:16]}.json").read_bytes()
    )
    folder = imported.root / manifest["data"]
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    model = put(
        store, Recipe("model", "churn", 1, inputs={"features": (day.key,)}, date=date), files, day
    )
    done = imported.ok("export", model.key, "--onnx", "churn.onnx")
    assert "and 300 others" in done.out
