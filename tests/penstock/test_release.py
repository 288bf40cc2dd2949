"""`penstock release`: from one environment to another, whole or again."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from registry.artifacts.fetch import fetch, read_ancestor, read_manifest
from registry.artifacts.provenance import Code
from registry.artifacts.store import Store, open_store
from tests.penstock.conftest import ENVIRONMENT, Imported, Place
from tests.penstock.test_runs import WORDS, jobs
from tests.registry.makers import a_recipe, commit_one

__all__ = ["jobs"]  # a fixture
TO = ("--to", "staging", "--why", "tested")


def staging(place: Place) -> Store:
    return open_store(str(place.folder / "var/store/staging"))


@pytest.fixture
def committed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The running code is that of a commit."""
    code = Code("a" * 40, dirty=False, lock="")
    for module in ("registry.artifacts.provenance", "penstock.releasing", "penstock.imported"):
        monkeypatch.setattr(f"{module}.running_code", lambda: code)


@pytest.fixture
def uncommitted(monkeypatch: pytest.MonkeyPatch) -> None:
    code = Code("a" * 40, dirty=True, lock="")
    monkeypatch.setattr("penstock.releasing.running_code", lambda: code)


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (f"churn --to {ENVIRONMENT} --why x", 64, "is in dev/tester already"),
        ("churn --to ../x --why x", 78, "environment"),
        ("churn --to staging", 64, "--why"),
        ("other@champion --to staging --why x", 66, "nothing is live at other@champion"),
        ("churn@Nobody --to staging --why x", 64, "name of an alias"),
    ],
)
def test_words_that_are_off(imported: Imported, words: str, code: int, named: str) -> None:
    done = imported.call("release", *words.split())
    assert done.code == code, done.err
    assert named in done.err
    assert not (imported.folder / "var/store/staging/manifests").exists()


def test_a_model_goes_live_in_the_other_environment(imported: Imported) -> None:
    dry = imported.ok("release", "churn", *TO, "--dry-run").out
    assert imported.first[:16] in dry
    assert not (imported.folder / "var/store/staging").exists()
    text = imported.ok("release", "churn", *TO).out
    assert f"churn@champion is {imported.first[:16]} in staging now (revision 1)" in text
    history = imported.ok("models", "history", "churn", "--environment", "staging").out
    assert "tested (released from dev/tester)" in history
    again = imported.ok("release", "churn", *TO, "--json").document
    assert (again["new"], again["decision"]["revision"]) == (False, 1)
    imported.ok("release", imported.second, *TO, "--alias", "challenger")
    words = ("score", "rows.parquet", "out.parquet", "--model", "churn@challenger")
    assert "300 rows" in imported.ok(*words, "--environment", "staging").out


@pytest.mark.usefixtures("uncommitted")
def test_uncommitted_code_releases_nothing_to_prod(imported: Imported) -> None:
    done = imported.call("release", "churn", "--to", "prod", "--why", "x")
    assert done.code == 77
    assert "may not write to prod" in done.err
    assert not (imported.folder / "var/store/prod").exists()


@pytest.mark.usefixtures("committed")
def test_into_prod_goes_what_committed_code_made(place: Place, model_files: Path, monkeypatch):
    first = ("import", model_files / "first.txt", "--name", "churn", "--alias", "champion")
    dirty = Code("b" * 40, dirty=True, lock="")
    clean = Code("b" * 40, dirty=False, lock="")
    monkeypatch.setattr("registry.artifacts.provenance.running_code", lambda: dirty)
    place.ok(*first)
    done = place.call("release", "churn", "--to", "prod", "--why", "x")
    assert done.code == 77
    assert "the code that made it is not the content of a commit" in done.err
    key = place.ok("models", "show", "churn", "--json").document["manifest"]["key"]
    place.ok("retract", key, "--why", "made by uncommitted code")
    monkeypatch.setattr("registry.artifacts.provenance.running_code", lambda: clean)
    place.ok(*first)
    place.ok("release", "churn", "--to", "prod", "--why", "x")
    assert "churn@champion" in place.ok("models", "--environment", "prod").out


def test_what_was_retracted_is_not_released(imported: Imported) -> None:
    imported.ok("retract", imported.first, "--why", "wrong rows")
    done = imported.call("release", "churn", *TO)
    assert done.code == 77
    assert "was retracted" in done.err


@pytest.mark.usefixtures("jobs")
def test_lineage_comes_without_data_and_the_report_with_it(place: Place, monkeypatch) -> None:
    place.ok("run", *WORDS)
    from penstock import releasing
    from penstock.opened import Registry
    from registry.aliases import open_aliases
    from registry.artifacts.store import open_environment
    from registry.settings import Settings

    def registry(environment: str) -> Registry:
        env = {"PENSTOCK_STORE": str(place.folder / "var/store"), "PENSTOCK_VAR": "var"}
        settings = Settings.load(env, environment=environment)
        store = open_environment(settings)
        return Registry(settings, store, open_aliases(settings, store))

    monkeypatch.chdir(place.folder)
    monkeypatch.setattr("penstock.releasing.promote", lambda *_, **__: None)
    source, target = registry(ENVIRONMENT), registry("staging")
    about = ("flights", "champion")
    live = source.aliases.live(*about)
    what = releasing.prepare(source, target, about, live)
    releasing.release(source, target, about, what, "why")
    families = {path.split("/")[1] for path in target.store.list("manifests/")}
    assert families == {"model", "evaluation"}
    assert {path.split("/")[2] for path in target.store.list("lineage/")} == {
        "features", "source", "model",
    }  # fmt: skip
    assert what.ancestors == {path: read_ancestor(target.store, path) for path in what.ancestors}
    fetch(target.store, live, place.folder / "cache")
    assert read_manifest(target.store, live.path) == what.manifest


@pytest.mark.parametrize(
    "point",
    ["copy.before_manifest", "copy.after_manifest", "store.after_link", "publish.after_decision"],
)
def test_a_release_that_was_cut_short_is_completed(imported: Imported, point: str) -> None:
    done = imported.run("release", "churn", *TO, PENSTOCK_CRASH_AT=point)
    assert done.code == -signal.SIGKILL
    imported.ok("release", "churn", *TO)
    store = staging(imported)
    (path,) = store.list("manifests/")
    fetch(store, read_manifest(store, path).reference(path), imported.folder / "cache")
    assert len(list(store.list("decisions/"))) == 1
    assert re.search(imported.first[:16], imported.ok("models", "--environment", "staging").out)


def test_other_files_under_the_same_key_are_refused(tmp_path: Path) -> None:
    from registry.artifacts.copying import copy_artifact
    from registry.errors import Refused

    one, other = (open_store(str(tmp_path / name)) for name in ("one", "other"))
    made = commit_one(one, a_recipe())
    commit_one(other, a_recipe(), {"model.txt": b"something else"})
    with pytest.raises(Refused, match="has other files"):
        copy_artifact(one, other, made.reference)
    same = open_store(str(tmp_path / "same"))
    theirs = commit_one(same, a_recipe())
    assert copy_artifact(one, same, made.reference) == theirs.reference
    assert not list(same.list("lineage/"))
