"""The contract of heads, over every implementation."""

from __future__ import annotations

import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from registry.aliases.heads import Head, Heads, open_heads
from registry.aliases.heads.files import FileHeads
from registry.aliases.heads.memory import MemoryHeads
from registry.artifacts.manifest import Reference
from registry.errors import BadData, StoreUnwritable, UsageError
from registry.settings import Settings
from tests.races import PATIENCE, race_processes, race_threads

LIVE = Reference("manifests/m.json", "k" * 64, "c" * 64, "v" * 64)
FOREVER = 60.0


def head(revision: int, write_id: str = "", alias: str = "champion") -> Head:
    return Head("flights", alias, revision, LIVE, write_id or f"w{revision}", "me", "now")


@pytest.fixture(params=["files", "memory", "consul"])
def heads(request: pytest.FixtureRequest, tmp_path: Path) -> Heads:
    if request.param == "consul":
        request.getfixturevalue("consul_env")
        return open_heads(Settings.load({}))
    return FileHeads(tmp_path / "heads") if request.param == "files" else MemoryHeads()


@pytest.fixture
def files(tmp_path: Path) -> FileHeads:
    return FileHeads(tmp_path / "heads")


def head_file(tmp_path: Path) -> Path:
    return tmp_path / "heads" / "flights" / "champion.json"


def test_a_head_is_read_as_it_was_set(heads: Heads):
    assert heads.read("flights", "champion") is None
    assert heads.advance(head(3)) == head(3)
    assert heads.read("flights", "champion") == head(3)


def test_aliases_do_not_meet(heads: Heads):
    heads.advance(head(3))
    heads.advance(head(7, alias="candidate"))
    assert heads.read("flights", "champion") == head(3)
    assert heads.read("flights", "candidate") == head(7, alias="candidate")
    assert heads.read("other", "champion") is None


def test_a_head_never_goes_down(heads: Heads):
    heads.advance(head(5))
    assert heads.advance(head(4)) == head(5)
    assert heads.advance(head(5, "other")) == head(5)
    assert heads.read("flights", "champion") == head(5)


def test_revisions_may_be_skipped(heads: Heads):
    heads.advance(head(2))
    assert heads.advance(head(9)) == head(9)


def test_waiting_returns_at_once_where_the_revision_differs(heads: Heads):
    heads.advance(head(5))
    assert heads.wait("flights", "champion", 4, FOREVER) == head(5)
    assert heads.wait("flights", "champion", 6, FOREVER) == head(5)


def test_waiting_ends_at_the_timeout(heads: Heads):
    assert heads.wait("flights", "champion", 0, 0.05) is None
    heads.advance(head(5))
    assert heads.wait("flights", "champion", 5, 0.05) is None
    assert heads.wait("flights", "champion", 5, 0) is None


@pytest.mark.parametrize("first", [0, 5])
def test_waiting_returns_on_a_change(heads: Heads, first: int):
    if first:
        heads.advance(head(first))
    waiting = threading.Event()
    found: list[Head | None] = []

    def wait() -> None:
        waiting.set()
        found.append(heads.wait("flights", "champion", first, FOREVER))

    thread = threading.Thread(target=wait)
    thread.start()
    waiting.wait(FOREVER)
    heads.advance(head(1, alias="candidate"))  # Not what is waited for.
    heads.advance(head(first + 1))
    thread.join(FOREVER)
    assert found == [head(first + 1)]


def test_a_watcher_sees_revisions_rise_up_to_the_last(heads: Heads):
    last = 60
    seen: list[int] = []

    def advance() -> None:
        for revision in range(1, last + 1):
            heads.advance(head(revision))

    def watch() -> None:
        revision = 0
        while revision < last:
            found = heads.wait("flights", "champion", revision, 0.5)
            if found:
                revision = found.revision
                seen.append(revision)

    race_threads(2, lambda number: [advance, watch][number]())
    assert seen == sorted(set(seen))
    assert seen[-1] == last


def test_racing_threads_end_at_the_highest_revision(heads: Heads):
    standing = race_threads(8, lambda number: heads.advance(head(number + 1)))
    assert heads.read("flights", "champion") == head(8)
    assert all(found.revision > number for number, found in enumerate(standing))


def test_racing_processes_end_at_the_highest_revision(tmp_path: Path):
    outcomes = race_processes(4, _advance_all, str(tmp_path / "heads"))
    found = FileHeads(tmp_path / "heads").read("flights", "champion")
    assert found is not None
    assert found.revision == 20 * 4
    assert all(revisions == sorted(revisions) for revisions in outcomes)


def _advance_all(number: int, barrier: Any, folder: str) -> list[int]:
    heads = FileHeads(Path(folder))
    barrier.wait(PATIENCE)
    return [heads.advance(head(4 * turn + number + 1)).revision for turn in range(20)]


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"null", b'{"revision": "7"}', b"\xff\xfe", b"[" * 100_000]
)
def test_a_damaged_head_is_named_and_replaced(files: FileHeads, tmp_path: Path, damage: bytes):
    files.advance(head(5))
    head_file(tmp_path).write_bytes(damage)
    with pytest.raises(BadData, match=r"champion\.json"):
        files.read("flights", "champion")
    with pytest.raises(BadData, match=r"champion\.json"):
        files.wait("flights", "champion", 5, FOREVER)
    assert files.advance(head(2)) == head(2)
    assert files.read("flights", "champion") == head(2)


def test_a_head_of_another_alias_is_not_taken_for_this(files: FileHeads, tmp_path: Path):
    files.advance(head(9, alias="candidate"))
    files.advance(head(5))
    candidate = head_file(tmp_path).with_name("candidate.json")
    head_file(tmp_path).write_bytes(candidate.read_bytes())
    with pytest.raises(BadData, match="flights@candidate"):
        files.read("flights", "champion")
    assert files.advance(head(6)) == head(6)


def test_others_may_read_a_head(files: FileHeads, tmp_path: Path):
    files.advance(head(1))
    assert stat.S_IMODE(head_file(tmp_path).stat().st_mode) == 0o644


def test_a_head_that_is_high_enough_needs_no_writing(files: FileHeads, tmp_path: Path):
    files.advance(head(5))
    lock = head_file(tmp_path).with_suffix(".lock")
    lock.unlink()
    assert files.advance(head(5)) == head(5)
    assert not lock.exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "heads").write_text("a file where the folder should be")
    with pytest.raises(StoreUnwritable, match="PENSTOCK_VAR"):
        FileHeads(tmp_path / "heads").advance(head(1))


def test_no_temporary_file_stays(files: FileHeads, tmp_path: Path):
    for revision in range(1, 4):
        files.advance(head(revision))
    names = sorted(path.name for path in head_file(tmp_path).parent.iterdir())
    assert names == ["champion.json", "champion.lock"]


def test_spellings_of_one_store_share_their_heads(tmp_path: Path):
    def heads_of(store: str, environment: str = "dev/me") -> Heads:
        env = {
            "PENSTOCK_STORE": store,
            "PENSTOCK_VAR": str(tmp_path / "var"),
            "PENSTOCK_ENVIRONMENT": environment,
        }
        return open_heads(Settings.load(env))

    heads_of(str(tmp_path / "store")).advance(head(4))
    for same in (f"file://{tmp_path}/store", f"{tmp_path}/store/", f"{tmp_path}/x/../store"):
        assert heads_of(same).read("flights", "champion") == head(4)
    heads_of("s3://bucket/prefix").advance(head(5))
    assert heads_of("s3://bucket/prefix/").read("flights", "champion") == head(5)
    assert heads_of("s3://bucket/other").read("flights", "champion") is None
    assert heads_of(str(tmp_path / "store"), "dev-me").read("flights", "champion") is None


@pytest.mark.parametrize("name", ["..", "a/b", "", "A", "x" * 64, "../x"])
def test_names_that_leave_their_folder_never_come_this_far(name: str):
    from registry.aliases.decision import check_alias

    with pytest.raises(UsageError):
        check_alias(name, "champion")
    with pytest.raises(UsageError):
        check_alias("flights", name)
