"""The entry point of jobs, with steps of no weight in place of the real ones."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import msgspec
import pytest

from jobs import __main__ as entry
from jobs.__main__ import main
from jobs.outcome import Outcome
from registry.artifacts.attempt import JobSpec, RecipeRecord, open_attempt
from registry.artifacts.fetch import find_manifest
from registry.artifacts.manifest import Reference
from registry.artifacts.provenance import Code
from registry.artifacts.records import encode_record
from registry.artifacts.store import open_store
from registry.artifacts.store.memory import named_memory
from registry.errors import BadData, NotFound, Refused, StoreUnwritable, Temporary
from tests.races import race_threads
from tests.registry.makers import a_recipe, commit_one


class Job:
    """An attempt in a store of its own, and the command line that runs it."""

    def __init__(self, url, monkeypatch):
        self.url = url
        self.store = open_store(url)
        self.calls = []
        self.monkeypatch = monkeypatch

    def does(self, act):
        """Put a step in place."""

        def run(inputs, parameters, out):
            self.calls.append((inputs, parameters, out))
            return act(inputs, parameters, out)

        self.monkeypatch.setattr(entry, "_step", lambda kind: run)
        return self

    def attempt(self, recipe=None, kind="train", references=None, timeout=60.0, number=1):
        spec = JobSpec(kind, RecipeRecord.of(recipe or a_recipe()), references or {})
        return open_attempt(
            self.store, spec, number, size="s", runner="stub", host="", run="run-1",
            timeout=timeout,
        )  # fmt: skip

    def words(self, attempt, digest=None):
        digest = digest or hashlib.sha256(encode_record(attempt)).hexdigest()
        return ["--root", self.url, "--attempt", attempt.path, "--digest", digest]

    def run(self, attempt=None, digest=None):
        return main(self.words(attempt or self.attempt(), digest))

    def manifest(self, recipe=None):
        return find_manifest(self.store, recipe or a_recipe())


def writes(inputs, parameters, out):
    (out / "model.txt").write_text("tree\n")
    return Outcome({"auc": 0.7, "worse": float("nan")}, {"inputs": []}, 12)


@pytest.fixture
def var(tmp_path, monkeypatch):
    monkeypatch.setenv("PENSTOCK_VAR", str(tmp_path / "var"))
    return tmp_path / "var"


@pytest.fixture
def job(request, var, monkeypatch, tmp_path):
    return Job(str(tmp_path / "store"), monkeypatch).does(writes)


@pytest.fixture
def remote(request, var, monkeypatch):
    """The same in a store that keeps no files, so that inputs go through the cache."""
    return Job(f"memory://{request.node.name}-{time.monotonic_ns()}", monkeypatch).does(writes)


def raises(error):
    def act(inputs, parameters, out):
        (out / "half.txt").write_text("half")
        raise error

    return act


def test_a_job_commits_what_its_step_made(job, var, capsys):
    before = time.time()
    assert job.run() == 0
    manifest = job.manifest()
    assert [file.path for file in manifest.files] == ["model.txt"]
    assert (manifest.metrics, manifest.rows, manifest.seed) == ({"auc": 0.7}, 12, 7)
    assert manifest.signature == {"inputs": []}
    assert set(manifest.resources) == {"peak_rss_mb", "cpu_s", "wall_s", "input_bytes"}
    assert before <= manifest.timings["started"] <= manifest.timings["ended"] <= time.time()
    assert (manifest.producer.run, manifest.producer.attempt) == ("run-1", 1)
    assert json.loads(capsys.readouterr().out)["mine"] is True
    assert list((var / "work").iterdir()) == []


def test_the_step_gets_parameters_usecase_date_and_an_empty_folder(job):
    seen = []

    def look(inputs, parameters, out):
        seen.extend(out.iterdir())
        return writes(inputs, parameters, out)

    job.does(look)
    job.run()
    ((inputs, parameters, _),) = job.calls
    assert inputs == {}
    assert parameters == {
        "rate": 0.1, "leaves": 31, "seed": 7, "usecase": "flights", "date": "2013-06-30",
    }  # fmt: skip
    assert seen == []


@pytest.mark.parametrize("where", ["job", "remote"])
def test_inputs_are_fetched_and_verified(request, where):
    job = request.getfixturevalue(where)
    one = commit_one(job.store, a_recipe(family="features"), {"features.parquet": b"1"})
    two = commit_one(job.store, a_recipe(family="features", version=2), {"features.parquet": b"2"})
    model = commit_one(job.store, a_recipe(version=9))
    references = {"model": model.reference, "features": [two.reference, one.reference]}
    assert job.run(job.attempt(references=references)) == 0
    inputs, parameters, _ = job.calls[0]
    assert [(path / "features.parquet").read_bytes() for path in inputs["features"]] == [b"2", b"1"]
    assert (inputs["model"] / "nested/signature.json").read_bytes() == b"{}"
    assert parameters["model_key"] == model.manifest.key
    read = [file.size for each in (one, two, model) for file in each.manifest.files]
    assert job.manifest().resources["input_bytes"] == sum(read)
    assert job.manifest().references == [model.reference, two.reference, one.reference]


def test_what_is_there_is_left_alone(job, capsys):
    assert job.run() == 0
    first = job.manifest()
    assert job.run(job.attempt(number=2)) == 0
    assert len(job.calls) == 1
    assert job.manifest() == first
    assert "nothing to do" in capsys.readouterr().out


def test_a_job_may_run_twice_at_once(job):
    attempt = job.attempt()
    assert race_threads(4, lambda _: job.run(attempt)) == [0] * 4
    assert len(list(job.store.list("manifests/"))) == 1


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (BadData("column x is missing", "", "Fix it."), 65, "bad-data: column x is missing. Fix"),
        (NotFound("there is no such day"), 66, "not-found: there is no such day"),
        (Temporary("the server is busy"), 75, "temporary: the server is busy"),
        (Refused("not\nhere"), 77, "refused: not here"),
        (MemoryError(), 71, "oom: the job ran out of the memory that its size allows"),
    ],
)
def test_a_failure_is_the_last_line_and_the_exit_code(job, var, capsys, error, code, line):
    assert job.does(raises(error)).run() == code
    assert capsys.readouterr().err.splitlines()[-1].startswith(line)
    assert job.manifest() is None
    assert list(job.store.list("data/")) == []
    assert list((var / "work").iterdir()) == []


def test_a_defect_of_a_step_is_raised(job, var):
    with pytest.raises(ZeroDivisionError):
        job.does(raises(ZeroDivisionError())).run()
    assert job.manifest() is None
    assert list((var / "work").iterdir()) == []


def test_the_folder_of_a_killed_job_is_removed_by_the_next(job, var):
    left = var / "work" / "left" / "deep"
    left.mkdir(parents=True)
    (left / "half.txt").write_text("half")

    def alongside(inputs, parameters, out):
        assert not left.parent.exists()
        again = job.attempt(a_recipe(version=2))
        if len(job.calls) == 1:  # another job begins while this one works
            assert job.run(again) == 0
        assert out.exists()
        return writes(inputs, parameters, out)

    assert job.does(alongside).run() == 0
    assert len(job.calls) == 2
    assert list((var / "work").iterdir()) == []


def test_a_step_that_wrote_nothing_commits_nothing(job, capsys):
    assert job.does(lambda *_: Outcome()).run() == 65
    assert "the step wrote no file" in capsys.readouterr().err
    assert job.manifest() is None


def test_another_record_than_the_one_dispatched_is_refused(job, capsys):
    assert job.run(digest="0" * 64) == 65
    assert "is not the one that was dispatched" in capsys.readouterr().err
    assert job.calls == []


def test_a_record_that_is_not_there(job, capsys):
    attempt = msgspec.structs.replace(job.attempt(), number=7)
    assert job.run(attempt) == 66
    assert attempt.path in capsys.readouterr().err


@pytest.mark.parametrize("data", [b"", b"{}", b"[", b'{"key": "' + b"\xff" * 9 + b'"}'])
def test_a_record_that_cannot_be_read_is_named(job, capsys, data):
    path = "attempts/x/0001.json"
    job.store.create(path, data)
    digest = hashlib.sha256(data).hexdigest()
    assert main(["--root", job.url, "--attempt", path, "--digest", digest]) == 65
    assert path in capsys.readouterr().err


@pytest.mark.parametrize(
    "kind", ["", "no_such_step", "__main__", "../train", "os", "outcome", "commands", "a" * 99]
)
def test_an_unknown_kind_is_named(job, capsys, monkeypatch, kind):
    monkeypatch.undo()
    monkeypatch.setenv("PENSTOCK_VAR", str(Path(job.url).parent / "var"))
    assert job.run(job.attempt(kind=kind)) == 65
    assert f"there is no job {kind!r}" in capsys.readouterr().err


def test_after_its_deadline_a_job_commits_nothing(job, capsys):
    assert job.run(job.attempt(timeout=-1)) == 75
    assert "may no longer commit" in capsys.readouterr().err
    assert job.manifest() is None


def test_a_damaged_input_is_named(job, capsys):
    done = commit_one(job.store, a_recipe(family="features"), {"features.parquet": b"data"})
    path = job.store.local_path(done.manifest.data + "features.parquet")
    path.chmod(0o644)
    path.write_bytes(b"dala")
    assert job.run(job.attempt(references={"features": [done.reference]})) == 65
    words = capsys.readouterr().err
    assert "features.parquet is damaged: its sha256 differs" in words
    assert "penstock retract" in words
    assert job.calls == []
    assert job.manifest() is None


def test_a_reference_to_another_artifact_is_refused(job, capsys):
    done = commit_one(job.store, a_recipe(family="features"))
    other = msgspec.structs.replace(done.reference, content="0" * 64)
    assert isinstance(other, Reference)
    assert job.run(job.attempt(references={"features": other})) == 65
    assert "is not the artifact that was referred to" in capsys.readouterr().err


def test_a_truncated_copy_in_the_cache_is_made_anew(remote, var):
    done = commit_one(remote.store, a_recipe(family="features"), {"features.parquet": b"data"})
    references = {"features": [done.reference]}
    assert remote.run(remote.attempt(references=references)) == 0
    (cached,) = (var / "cache").rglob("features.parquet")
    cached.write_bytes(b"da")
    recipe = a_recipe(version=2)
    assert remote.run(remote.attempt(recipe, references=references)) == 0
    assert cached.read_bytes() == b"data"


def test_a_store_that_refuses_writes(job, capsys, monkeypatch):
    attempt = job.attempt()

    def refuse(*_):
        raise StoreUnwritable("the store is full", "", "Make room.")

    monkeypatch.setattr("registry.artifacts.store.local.LocalStore.create_from", refuse)
    assert job.run(attempt) == 73
    assert "store-unwritable: the store is full. Make room." in capsys.readouterr().err
    assert job.manifest() is None


def test_a_store_that_cannot_be_opened(capsys):
    assert main(["--root", "ftp://x", "--attempt", "a", "--digest", "b"]) == 78
    assert "there is no kind of store called 'ftp'" in capsys.readouterr().err


def test_uncommitted_code_writes_nothing_to_prod(job, monkeypatch, capsys):
    monkeypatch.setenv("PENSTOCK_ENVIRONMENT", "prod")
    dirty = Code("0" * 40, True, "")
    monkeypatch.setattr("jobs.__main__.running_code", lambda: dirty)
    assert job.run() == 77
    assert job.calls == []


@pytest.mark.parametrize("words", [[], ["--root", "x"], ["--root", "x", "--attempt", "y"]])
def test_missing_words_are_an_error_of_usage(words):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2


def test_memory_is_a_store_of_this_process(remote):
    assert named_memory(remote.url.removeprefix("memory://")) is remote.store


def test_the_payload_of_a_dispatch_says_the_same(job, tmp_path):
    root, attempt, digest = job.words(job.attempt())[1::2]
    payload = tmp_path / "dispatch.json"
    payload.write_text(json.dumps({"root": root, "attempt": attempt, "digest": digest}))
    job.does(writes)
    assert main(["--payload", str(payload)]) == 0
    assert job.manifest() is not None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"root": "x", "attempt": "y"}'])
def test_a_payload_of_another_form_is_named(tmp_path, capsys, text):
    payload = tmp_path / "dispatch.json"
    payload.write_text(text)
    assert main(["--payload", str(payload)]) == 65
    assert "dispatch.json is not the payload of a dispatch" in capsys.readouterr().err


def test_a_payload_that_is_not_there_is_named(tmp_path, capsys):
    assert main(["--payload", str(tmp_path / "gone.json")]) == 65
    assert "gone.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", ["", "--root x", "--root x --attempt y", "--payload p --root x --attempt y --digest z"]
)
def test_words_are_given_in_one_way(words, capsys):
    with pytest.raises(SystemExit):
        main(words.split())
    assert "give --payload alone" in capsys.readouterr().err
