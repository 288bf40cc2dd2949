"""`penstock new`, tried in a copy of the checkout: refusals, and what it writes."""

from __future__ import annotations

import csv
import datetime as dt
import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq
import pytest

from penstock.scaffold import create
from penstock.scaffold.sample import sample_csv
from registry.usecase import FURTHER_STEPS, STEPS
from tests.penstock.conftest import Done, Place
from tests.repository import tree

#: One worker makes one copy and fills it.
pytestmark = pytest.mark.xdist_group("new")
LONG = "a_name_as_long_as_the_longest_name_can_be"[:40]


@dataclass(frozen=True)
class Checkout:
    """A copy of the code in `folder`, in which commands work as in a clone; its own home."""

    folder: Path
    home: Path

    def python(self, *words: str | Path, **env: str) -> Done:
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=self.folder,
            env=self.environ | env,
            capture_output=True,
            text=True,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, *words: str | Path, **env: str) -> Done:
        done = self.python("-m", "penstock", *words, **env)
        assert done.code == 0, done.err
        return done

    @property
    def environ(self) -> dict[str, str]:
        own = {"PYTHONPATH": str(self.folder), "HOME": str(self.home), "NO_COLOR": "1"}
        return dict(os.environ) | own


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    folder = tmp_path_factory.mktemp("clone")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in tree.PACKAGES:
        shutil.copytree(tree.ROOT / name, folder / name, ignore=ignored)
    (folder / "tests/usecases").mkdir(parents=True)
    (folder / "docs").mkdir()
    for name in (
        "pyproject.toml", "docs/usecase.md", "tests/__init__.py", "tests/usecases/__init__.py",
    ):  # fmt: skip
        shutil.copy(tree.ROOT / name, folder / name)
    return Checkout(folder, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def customers(checkout: Checkout) -> Path:
    """A file from elsewhere: dates without a zone, ids with zeros, a last day without labels."""
    path = checkout.home / "customers of ours.csv"
    draw = random.Random(3)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["nr", "day", "Plan type", "calls", "active", "note", "last seen", "churn"])
        for number in range(1_200):
            day = dt.date(2024, 3, 1) + dt.timedelta(days=number // 150)
            plan, calls = draw.choice("abc"), draw.randrange(10)
            gone = str(draw.random() < 0.05 + 0.1 * calls).capitalize()
            known = gone if number < 1_050 else ""
            note = f"free text {draw.random()}"
            row = [f"{number:05}", day, plan, calls or "NA", draw.random() < 0.5, note, day, known]
            writer.writerow(row)
    return path


ROLES = ("--time", "day", "--id", "nr", "--label", "churn")


@pytest.fixture(scope="module")
def sample(checkout: Checkout) -> Done:
    """The use case `demo`, on the sample it ships."""
    return checkout.ok("new", "demo")


@pytest.fixture(scope="module")
def own(checkout: Checkout, customers: Path) -> Done:
    """The use case of the longest name, on the file from elsewhere."""
    return checkout.ok("new", LONG, "--from", customers, *ROLES, "--json")


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A checkout of nothing, for this process: what must not be written would be seen."""
    for name in ("usecases", "tests/usecases", "docs/usecases"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(create, "ROOT", tmp_path)
    monkeypatch.setattr(create, "record_new", lambda _: None)
    return Place(tmp_path)


def written(place: Place) -> list[str]:
    return [path.name for path in place.folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "name", ["Churn", "1st", "a-b", "", "../up", "class", "a" * 41, "é", "flights"]
)
def test_a_bad_name_is_refused(nowhere: Place, name: str) -> None:
    done = nowhere.call("new", name)
    assert done.code == 64
    told = "already" if name == "flights" else "cannot be the name of a use case"
    assert told in done.err
    assert written(nowhere) == ["pyproject.toml"]


@pytest.mark.parametrize("path", ["tests/usecases/taken/__init__.py", "usecases/taken/label.py"])
def test_what_is_there_is_not_overwritten(nowhere: Place, path: str) -> None:
    mine = nowhere.folder / path
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    done = nowhere.call("new", "taken")
    assert done.code == 64
    assert f"{path} is there already" in done.err
    assert mine.read_text() == "mine"
    assert len(written(nowhere)) == 2


def test_an_installation_is_no_checkout(nowhere: Place) -> None:
    (nowhere.folder / "pyproject.toml").unlink()
    done = nowhere.call("new", "fresh")
    assert done.code == 77
    assert "written into a checkout" in done.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--time", "day"], "--time without --from"),
        (["--positive", "yes"], "--positive without --from"),
        (["--from", "{file}", "--time", "day"], "--from needs --id, --label"),
        (["--from", "{file}", *ROLES[:4], "--label", "day"], "two roles"),
        (["--from", "{file}", *ROLES[:4], "--label", "left"], "no column left"),
        (["--from", "{file}", *ROLES[:4], "--label", "calls"], "the column calls is no label"),
        (["--from", "{file}", *ROLES, "--positive", "yes"], "no label with 'yes'"),
        (["--from", "{file}", "--time", "note", *ROLES[2:]], "not a time"),
        (["--from", "{file}", *ROLES[:2], "--id", "Plan type", *ROLES[4:]], "one row of each id"),
        (["--from", "{file}", *ROLES, "--without", "gone"], "no column gone"),
        (["--without", "note"], "--without without --from"),
        (["--from", "gone.csv", *ROLES], "there is no file"),
        (["--from", "{file}.parquet", *ROLES], "is not what sources.py reads"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    nowhere: Place, customers: Path, words: list[str], told: str
) -> None:
    Path(f"{customers}.parquet").write_text("PAR1")
    done = nowhere.call("new", "fresh", *(word.format(file=customers) for word in words))
    assert done.code in (64, 65, 66)
    assert told in done.err
    assert written(nowhere) == ["pyproject.toml"]


def test_it_says_what_comes_next(sample: Done) -> None:
    assert "penstock run demo --date 2024-01-29" in sample.out
    assert "penstock serve demo@champion" in sample.out
    assert "next: penstock plan demo --date 2024-01-29" in sample.out
    assert "strike it from COLUMNS in usecases/demo/sources.py" in sample.out
    assert "wrote  usecases/demo/sample.csv" in sample.out


def test_it_names_features_and_what_it_left_out(own: Done) -> None:
    document = own.document
    assert document["features"] == ["Plan type", "calls", "active"]
    assert set(document["left_out"]) == {"note", "last seen"}
    assert (document["first_date"], document["date"]) == ("2024-03-01", "2024-03-07")


@pytest.mark.parametrize(
    ("unlabelled", "date"), [(2, "2024-03-07"), (301, "2024-03-06"), (500, "2024-03-05")]
)
def test_the_date_to_run_has_labels(
    nowhere: Place, customers: Path, unlabelled: int, date: str
) -> None:
    """Of eight days with 150 rows each; the labels of the last rows have not come in."""
    table = pv.read_csv(customers)
    labels = table["churn"].to_pylist()[:-unlabelled] + [None] * unlabelled
    table = table.set_column(table.column_names.index("churn"), "churn", pa.array(labels))
    pq.write_table(table, nowhere.folder / "rows.parquet")
    done = nowhere.ok("new", "late", "--from", "rows.parquet", *ROLES, "--json")
    assert done.document["date"] == date


def test_a_file_without_a_day_to_evaluate_on_is_refused(nowhere: Place, customers: Path) -> None:
    table = pv.read_csv(customers)
    last = table["day"].to_numpy() == np.datetime64("2024-03-08")
    labels = pa.array([bool(row % 2) if is_last else None for row, is_last in enumerate(last)])
    table = table.set_column(table.column_names.index("churn"), "churn", labels)
    pq.write_table(table, nowhere.folder / "rows.parquet")
    done = nowhere.call("new", "late", "--from", "rows.parquet", *ROLES)
    assert done.code == 65
    assert "no day before the last has labels of both kinds" in done.err


def test_what_is_known_too_late_is_left_out(nowhere: Place, customers: Path) -> None:
    """What only those who left have; what says the label in other words; and what you name."""
    table = pv.read_csv(customers)
    gone = table["churn"].to_pylist()
    for name, true, false in (("reason", "price", None), ("state", "gone", "here")):
        table = table.append_column(name, pa.array([true if left else false for left in gone]))
    table = table.append_column("why?", pa.array([f"text {left}" for left in gone]))
    pq.write_table(table, nowhere.folder / "rows.parquet")
    words = ("--from", "rows.parquet", *ROLES, "--without", "calls", "--json")
    left_out = nowhere.ok("new", "late", *words).document["left_out"]
    assert left_out["reason"].startswith("it has a value only where the label is true")
    assert (
        left_out["state"]
        == left_out["why?"]
        == "each of its values has one label, so it is known too late"
    )
    assert left_out["calls"] == "as you asked"
    assert left_out["note"] == "it holds 1,200 different texts"
    assert "it is a time" in left_out["last seen"]


def test_a_column_is_struck_in_one_place(checkout: Checkout, own: Done, tmp_path: Path) -> None:
    sources = checkout.folder / f"usecases/{LONG}/sources.py"
    text = sources.read_text()
    env = {"PENSTOCK_STORE": str(tmp_path / "store"), "PENSTOCK_VAR": str(tmp_path / "var")}
    try:
        sources.write_text(text.replace('    Column("calls", "int64"),\n', ""))
        code = (
            f"import datetime as dt; from usecases.{LONG} import features, quality, sources\n"
            "day = sources.ingest(dt.date(2024, 3, 7))\n"
            "print(features.features([day], dt.date(2024, 3, 7)).column_names)\n"
            'print("calls" in quality.EXPECTATIONS.sources["rows"].columns)\n'
        )
        shown = checkout.python("-c", code, **env)
    finally:
        sources.write_text(text)
    assert shown.code == 0, shown.err
    assert shown.out.splitlines() == [
        "['id', 'as_of', 'Plan type', 'active', 'recent_rate']",
        "False",
    ]


def test_its_steps_are_recorded_and_its_page_is_linked(
    checkout: Checkout, sample: Done, own: Done
) -> None:
    recorded = json.loads((checkout.folder / "steps.lock").read_text())
    for name in ("demo", LONG):
        assert set(recorded[name]) == {*STEPS, *FURTHER_STEPS}
        assert f"](usecases/{name}.md)" in (checkout.folder / "docs/usecase.md").read_text()
        assert (checkout.folder / f"docs/usecases/{name}.md").is_file()


def test_the_same_name_gives_the_same_bytes(checkout: Checkout, sample: Done) -> None:
    text = (checkout.folder / "usecases/demo/sample.csv").read_text()
    assert text == sample_csv()
    assert len(text) < 400_000


def test_what_it_writes_is_clean(checkout: Checkout, sample: Done, own: Done) -> None:
    paths = [
        f"{place}/{name}" for place in ("usecases", "tests/usecases") for name in (LONG, "demo")
    ]
    for words in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        done = checkout.python("-m", "ruff", *words, *paths)
        assert done.code == 0, done.out
    program = Path(sys.executable).with_name("lint-imports")
    done = checkout.python(program, "--no-cache")
    assert done.code == 0, done.out


def test_what_it_writes_is_typed(checkout: Checkout, sample: Done, own: Done) -> None:
    words = ["--follow-imports=silent", "--cache-dir", str(tree.ROOT / ".mypy_cache/new")]
    done = checkout.python("-m", "mypy", *words, "usecases/demo", f"usecases/{LONG}")
    assert done.code == 0, done.out


def test_its_own_tests_pass(checkout: Checkout, sample: Done, own: Done) -> None:
    done = checkout.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/usecases")
    assert done.code == 0, done.out
    assert "8 passed" in done.out


def settled(customers: Path, after: dt.timedelta) -> pa.Table:
    """The file, where each label was known so long after its row."""
    table = pv.read_csv(customers)
    return table.append_column("settled", pc.add(table["day"].cast(pa.timestamp("us")), after))


def test_parquet_with_the_time_of_the_label(nowhere: Place, customers: Path) -> None:
    """The window reaches back to labels that were known in time."""
    rows = settled(customers, dt.timedelta(days=5))
    pq.write_table(rows, nowhere.folder / "rows.parquet")
    words = ("--from-csv", "rows.parquet", *ROLES, "--positive", "false", "--known-at", "settled")
    done = nowhere.ok("new", "settled", *words)
    assert "features of settled: Plan type, calls, active, recent_rate" in done.out
    text = (nowhere.folder / "usecases/settled/sources.py").read_text()
    assert 'as_label(table, "churn", "false")' in text
    assert 'known = as_utc(table, "settled")' in text
    settings = (nowhere.folder / "usecases/settled/settings.py").read_text()
    assert 'SOURCE = Path(__file__).resolve().parents[2] / "rows.parquet"' in settings
    assert "window_days=6," in settings
    tests = (nowhere.folder / "tests/usecases/settled/test_settled.py").read_text()
    assert "DAY = dt.date(2024, 3, 7)" in tests
    assert "min(SETTINGS.window_days, 6)" in tests


def test_labels_that_were_known_too_late_are_refused(nowhere: Place, customers: Path) -> None:
    rows = settled(customers, dt.timedelta(days=6))
    pq.write_table(rows, nowhere.folder / "rows.parquet")
    done = nowhere.call("new", "late", "--from", "rows.parquet", *ROLES, "--known-at", "settled")
    assert done.code == 65
    assert "no labels of both kinds were known before 2024-03-07" in done.err
    assert written(nowhere) == ["pyproject.toml", "rows.parquet"]


def test_from_a_file_to_predictions(checkout: Checkout, own: Done, tmp_path: Path) -> None:
    """As the page docs/how-to/own-data.md has it, on a file that is not in the repository."""
    env = {"PENSTOCK_STORE": str(tmp_path / "store"), "PENSTOCK_VAR": str(tmp_path / "var")}
    day = own.document["date"]
    plan = checkout.ok("plan", LONG, "--date", day, "--json", **env).document
    assert plan
    done = checkout.ok("run", LONG, "--date", day, "--json", **env).document
    assert len(done["made"]) >= 15
    code = f"""
import penstock
for each in ("model", "evaluation", "predictions"):
    assert penstock.find(each, "{LONG}"), each
rows = penstock.find("predictions", "{LONG}")[-1].table()
assert rows.num_rows == 150, rows.num_rows
assert "01199" in rows["id"].to_pylist()
with penstock.load("{LONG}@champion") as loaded:
    print(loaded.predict({{"Plan type": ["a"], "calls": [9], "active": [True], "recent_rate": [None]}}))
"""
    shown = checkout.python("-c", code, **env)
    assert shown.code == 0, shown.err
    assert "probability" in shown.out
