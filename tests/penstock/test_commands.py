"""A person's afternoon: import, promote, look, roll back, retract, score; and the same as JSON."""

from __future__ import annotations

import re

import pyarrow.parquet as pq
import pytest

from tests.penstock.conftest import Imported, Place


def test_from_promotion_to_rollback(imported: Imported) -> None:
    first, second = imported.first[:16], imported.second[:16]
    imported.ok("promote", "churn@champion", second, "--why", "better at night")
    table = imported.ok("models").out
    assert re.search(rf"churn@champion +2  {second}  .* tester  promote", table)
    imported.ok("rollback", "churn", "--why", "worse by day")
    history = imported.ok("models", "history", "churn").out
    assert re.search(rf"3  rollback +{first}  {first}  .*  tester  worse by day", history)
    assert re.search(rf"2  promote +{second}  {second}  .*  better at night", history)
    imported.ok("rollback", "churn", "--to", "2", "--why", "by night again")
    assert second in imported.ok("models").out


def test_promote_what_another_alias_holds(imported: Imported) -> None:
    imported.ok("promote", "churn@challenger", imported.second, "--why", "try it")
    done = imported.ok("promote", "churn@champion", "churn@challenger", "--why", "it won", "--json")
    assert done.document["decision"]["live"]["key"] == imported.second


def test_the_same_file_is_imported_once(imported: Imported) -> None:
    done = imported.ok("import", "second.txt", "--name", "churn", "--json").document
    assert (done["created"], done["manifest"]["key"]) == (False, imported.second)
    assert len(list(imported.root.glob("manifests/model/churn/*"))) == 2


def test_a_retracted_file_is_imported_anew(imported: Imported) -> None:
    imported.ok("retract", imported.second, "--why", "try again")
    done = imported.ok("import", "second.txt", "--name", "churn", "--json").document
    assert done["created"]
    assert done["manifest"]["key"] != imported.second


def test_retracting_what_is_live_says_so(imported: Imported) -> None:
    done = imported.ok("retract", imported.first, "--why", "wrong rows")
    assert "still live at churn@champion" in done.out
    assert "next: penstock rollback churn@champion" in done.out


def test_scoring_carries_ids_and_keeps_the_order(imported: Imported) -> None:
    words = ("score", "rows.parquet", "out.parquet", "--model", "churn", "--id", "id", "--json")
    done = imported.ok(*words).document
    assert (done["rows"], done["model"]) == (300, imported.first)
    table = pq.read_table(imported.folder / "out.parquet")
    assert table.column_names == ["id", "probability"]
    assert table["id"].to_pylist() == list(range(300))


def test_scoring_with_a_folder(imported: Imported) -> None:
    folder = imported.one(f"data/model/churn/*{imported.first[:16]}/*/bundle.json").parent
    words = ("score", "rows.parquet", "out.parquet", "--model", folder, "--store", "nowhere")
    assert "300 rows" in imported.ok(*words).out


def test_show_names_what_a_model_is_made_of(imported: Imported) -> None:
    text = imported.ok("models", "show", "churn").out
    assert imported.first in text
    assert "live at     churn@champion" in text
    assert "model.txt" in text


READING = ["models", "models history churn", "models show churn", "doctor"]
WRITING = [
    "promote churn {second} --why x",
    "rollback churn --to 1 --why x",
    "retract {second} --why x",
    "import second.txt --name churn",
    "score rows.parquet out.parquet --model churn",
]


@pytest.mark.parametrize("words", READING + WRITING)
def test_json_parses_and_text_names_the_next_command(imported: Imported, words: str) -> None:
    command = words.format(second=imported.second).split()
    if words in READING:
        text = imported.ok(*command).out
        assert re.search(r"\nnext: penstock \w+", text)
        assert "\x1b" not in text
    done = imported.run("--json", *command)
    assert (done.code, done.err) == (0, "")
    assert isinstance(done.document, dict)


@pytest.mark.parametrize("words", WRITING)
def test_changes_name_the_next_command(imported: Imported, words: str) -> None:
    done = imported.ok(*words.format(second=imported.second).split())
    assert re.search(r"\nnext: penstock \w+", done.out)


def test_nothing_there_yet(place: Place) -> None:
    done = place.ok("models")
    assert "Nothing was decided yet" in done.out
    assert "next: penstock run" in done.out
    assert place.ok("models", "--json").document["aliases"] == []
    assert not (place.folder / "var").exists()
