"""Bad input through the real command: the thing is named, the way out too, the code documented."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.penstock.conftest import Imported, Place

NO_KEY = "0" * 16


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        ("modles", 64, "`penstock models`"),
        ("models history Bad@Alias", 64, "'Bad'"),
        ("models history flights", 66, "flights@champion"),
        ("models show flights", 66, "nothing is live at flights@champion"),
        ("promote flights 123 --why x", 64, "'123'"),
        (f"promote flights {NO_KEY} --why x", 66, NO_KEY),
        (f"promote flights {NO_KEY}", 64, "--why"),
        ("rollback flights --why x", 77, "nothing was live before"),
        ("rollback flights --to 0 --why x", 64, "'0'"),
        ("rollback flights --to two --why x", 64, "'two'"),
        ("retract xyz --why x", 64, "'xyz'"),
        (f"retract {NO_KEY} --why x", 66, NO_KEY),
        ("import gone.txt --name churn", 66, "gone.txt"),
        ("import gone.txt --name Churn", 64, "'Churn'"),
        ("score gone.parquet out.parquet --model churn", 66, "churn@champion"),
        ("score gone.parquet out.parquet --model ./gone", 66, "gone/bundle.json"),
        ("--store ftp://host models", 78, "'ftp'"),
        ("--environment a//b models", 78, "--environment"),
        ("models --no-such-flag", 64, "--no-such-flag"),
    ],
)
def test_words_that_are_off(place: Place, words: str, code: int, named: str) -> None:
    done = place.call(*words.split())
    assert done.code == code, done.err
    assert named in done.err
    assert "  do:  " in done.err or code in (66, 77)
    assert "Traceback" not in done.err
    assert done.out == ""
    assert not (place.folder / "var").exists()


@pytest.mark.parametrize(
    "words",
    [
        "modles",
        "promote flights 123",
        "models show flights",
        "rollback flights --why x",
        "--store ftp://host models",
    ],
)
def test_the_process_says_what_main_says(place: Place, words: str) -> None:
    assert place.run(*words.split()) == place.call(*words.split())


def test_a_setting_that_cannot_be_used(place: Place) -> None:
    done = place.run("models", PENSTOCK_LOG_LEVEL="loud")
    assert done.code == 78
    assert "PENSTOCK_LOG_LEVEL" in done.err
    assert "debug, info, warning, error" in done.err


@pytest.mark.parametrize(
    ("content", "named"),
    [(b"\x80\x04pickle", "pickle"), (b"tree\nversion=v4\n", "no trees"), (b"hello", "neither")],
)
def test_import_of_something_else(place: Place, content: bytes, named: str) -> None:
    (place.folder / "model").write_bytes(content)
    done = place.run("import", "model", "--name", "churn")
    assert done.code == 65, done.err
    assert named in done.err
    assert not place.root.exists()


def test_import_with_a_sample_that_does_not_fit(imported: Imported) -> None:
    words = ("import", "first.txt", "--name", "churn", "--sample", "second.txt")
    done = imported.run(*words)
    assert done.code == 65
    assert "second.txt" in done.err


def test_score_of_a_truncated_file(imported: Imported) -> None:
    rows = imported.folder / "rows.parquet"
    rows.write_bytes(rows.read_bytes()[:-100])
    done = imported.run("score", rows, "out.parquet", "--model", imported.first)
    assert done.code == 65
    assert "rows.parquet cannot be read as Parquet" in done.err
    assert sorted(path.name for path in imported.folder.glob("*out*")) == []


def test_score_never_overwrites(imported: Imported) -> None:
    done = imported.call("score", "rows.parquet", "first.txt", "--model", "churn")
    assert done.code == 64
    assert "first.txt exists" in done.err


def test_score_with_a_folder_that_is_no_bundle(imported: Imported) -> None:
    (imported.folder / "bundle.json").write_text("{}")
    done = imported.run("score", "rows.parquet", "out.parquet", "--model", ".//")
    assert done.code == 65
    assert "bundle.json" in done.err


def test_promote_a_model_of_another_name(imported: Imported) -> None:
    done = imported.call("promote", "flights@champion", imported.second, "--why", "typo")
    assert done.code == 77
    assert "is a model of churn, not of flights" in done.err
    assert not (imported.root / "decisions/flights").exists()


def test_promote_what_is_live(imported: Imported) -> None:
    done = imported.call("promote", "churn", imported.first, "--why", "again")
    assert done.code == 77
    assert "is live at churn@champion already" in done.err


def test_digits_after_the_sixteenth_count(imported: Imported) -> None:
    wrong = imported.first[:16] + "0" * 48
    for words in (("models", "show", wrong), ("retract", wrong, "--why", "typo")):
        done = imported.call(*words)
        assert done.code == 66
        assert imported.first in done.err


def test_a_manifest_edited_by_hand(imported: Imported) -> None:
    pattern = f"manifests/model/churn/*{imported.second[:16]}.json"
    text = imported.one(pattern).read_text()
    imported.damage(pattern, text.replace('"import"', '"magic"').encode())
    done = imported.run("promote", "churn", imported.second, "--why", "x")
    assert done.code == 65
    assert "was changed after it was committed" in done.err
    assert imported.one("decisions/churn/champion/*").name == "00000001.json"


def test_a_flipped_byte_in_a_model(imported: Imported) -> None:
    pattern = f"data/model/churn/*{imported.second[:16]}/*/model.txt"
    data = bytearray(imported.one(pattern).read_bytes())
    data[100] ^= 1
    imported.damage(pattern, bytes(data))
    for words in (
        ("promote", "churn", imported.second, "--why", "x"),
        ("score", "rows.parquet", "out.parquet", "--model", imported.second),
    ):
        done = imported.call(*words)
        assert done.code == 65
        assert "model.txt is damaged" in done.err
        assert "penstock retract" in done.err


@pytest.mark.parametrize("words", ["models", "doctor", "promote churn {second} --why x"])
def test_a_decision_that_is_not_json(imported: Imported, words: str) -> None:
    imported.damage("decisions/churn/champion/*", b"\x00 not JSON")
    done = imported.run(*words.format(second=imported.second).split())
    assert done.code == 65
    assert "decisions/churn/champion/00000001.json" in done.err + done.out
    assert imported.one("decisions/churn/champion/*").name == "00000001.json"


def test_a_retracted_model_may_not_go_live(imported: Imported) -> None:
    imported.ok("retract", imported.second, "--why", "wrong file")
    done = imported.call("promote", "churn", imported.second, "--why", "x")
    assert done.code == 77
    assert "was retracted" in done.err
    again = imported.call("retract", imported.second, "--why", "wrong file")
    assert again.code == 77


def test_a_store_below_a_file(imported: Imported) -> None:
    done = imported.run("promote", "churn", imported.first, "--why", "x", "--store", "first.txt")
    assert done.code in (66, 74)
    assert "first.txt" in done.err


def _no_room() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def test_a_full_store(imported: Imported) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "penstock", "rollback", "churn", "--to", "1", "--why", "x"],
        cwd=imported.folder, env=imported.environ, capture_output=True, text=True,
        preexec_fn=_no_room, check=False,
    )  # fmt: skip
    assert done.returncode == 73, done.stderr
    assert "could not be written to the store" in done.stderr
    assert "free space" in done.stderr
    assert imported.one("decisions/churn/champion/*").name == "00000001.json"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_store_without_permission(imported: Imported) -> None:
    folder = imported.root / "decisions/churn/champion"
    folder.chmod(0o555)
    done = imported.run("rollback", "churn", "--to", "1", "--why", "x")
    folder.chmod(0o755)
    assert done.code == 73


def test_a_closed_pipe_is_no_error(place: Place) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "penstock", "--help"],
        cwd=place.folder, stdout=writer, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has /dev/full")
def test_an_output_that_is_full(place: Place) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "penstock", "--help"],
            cwd=place.folder, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 74
    assert "No space left" in done.stderr


def test_a_model_that_fails_its_golden_rows_may_not_go_live(
    imported: Imported, monkeypatch: pytest.MonkeyPatch
) -> None:
    from registry.models import golden, predictor

    def check(*_: object) -> None:
        raise golden.GoldenMismatch("the model failed its golden rows", "row 0", "Compare.")

    monkeypatch.setattr(predictor, "check_golden", check)
    done = imported.call("promote", "churn", imported.second, "--why", "x")
    assert done.code == 77
    assert imported.one("decisions/churn/champion/*").name == "00000001.json"
