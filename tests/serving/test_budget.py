"""Whether a candidate fits: control groups of both versions, the machine, a limit of our own."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from serving.budget import MARGIN, Budget
from serving.footprint import Footprint
from serving.memory import Room, rooms, used_by
from serving.options import Options

MIB = 1 << 20


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_group_of_version_2_and_those_above_it(tmp_path: Path) -> None:
    root = write(tmp_path, {
        "proc/self/cgroup": "0::/pod/service\n",
        "sys/fs/cgroup/pod/service/memory.max": "max\n",
        "sys/fs/cgroup/pod/memory.max": "1000\n",
        "sys/fs/cgroup/pod/memory.current": "700\n",
        "sys/fs/cgroup/pod/memory.stat": "anon 500\ninactive_file 100\n",
    })  # fmt: skip
    assert list(rooms(root)) == [Room(400, 1000, "the control group")]


def test_a_group_of_version_1(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/memory/pod"
    root = write(tmp_path, {
        "proc/self/cgroup": "9:cpu:/\n8:memory:/pod\n",
        f"{group}/memory.limit_in_bytes": "1000\n",
        f"{group}/memory.usage_in_bytes": "600\n",
        f"{group}/memory.stat": "total_inactive_file 50\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "proc/meminfo": "MemTotal: 4 kB\nMemAvailable: 2 kB\n",
    })  # fmt: skip
    assert list(rooms(root)) == [
        Room(450, 1000, "the control group"), Room(2048, 4096, "this machine"),
    ]  # fmt: skip


def test_inside_a_container_its_own_group_is_the_root(tmp_path: Path) -> None:
    root = write(tmp_path, {
        "proc/self/cgroup": "0::/not/seen/from/here\n",
        "sys/fs/cgroup/memory.max": "1000\n",
        "sys/fs/cgroup/memory.current": "100\n",
    })  # fmt: skip
    assert list(rooms(root)) == [Room(900, 1000, "the control group")]


def test_nothing_is_known_where_nothing_tells(tmp_path: Path) -> None:
    assert list(rooms(tmp_path)) == []
    assert Footprint.read(tmp_path / "status") == Footprint()


def test_this_process_uses_memory_and_is_seen_to_grow() -> None:
    assert used_by([os.getpid(), 2**22 + 1]) > MIB
    before = Footprint.read()
    ballast = bytearray(32 * MIB)
    private, _ = Footprint.read().growth_since(before)
    assert len(ballast) <= private + MIB


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine on which 100 MiB are free, and a bundle of 1 MiB."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "model").write_bytes(bytes(MIB))
    return write(tmp_path, {"proc/meminfo": f"MemTotal: 204800 kB\nMemAvailable: {100 << 10} kB\n"})


def test_what_is_needed_was_measured_or_follows_from_the_size(machine: Path) -> None:
    budget = Budget(Options(workers=3, memory_factor=5), list, machine)
    bundle = machine / "bundle"
    assert budget.need(bundle, None) == 15 * MIB
    assert budget.need(bundle, (bundle, 50 * MIB)) == int(50 * MIB * MARGIN)
    small = machine / "small"
    small.mkdir()
    (small / "model").write_bytes(bytes(MIB // 2))
    assert budget.need(bundle, (small, 50 * MIB)) == int(100 * MIB * MARGIN)


def test_one_budget_for_all_models(machine: Path) -> None:
    """What was promised to one is not promised to another; what is held is given up for it."""

    async def scenario() -> None:
        budget, freed = Budget(Options(), list, machine), []

        async def free() -> None:
            freed.append(True)

        budget.on_pressure.append(free)
        assert await budget.reserve(1, 60 * MIB) == ""
        assert not freed
        reason = await budget.reserve(2, 60 * MIB)
        assert "about 60 MiB" in reason
        assert "40 of the 200 of this machine" in reason
        assert freed
        budget.settle(1)
        assert await budget.reserve(2, 60 * MIB) == ""

    asyncio.run(scenario())


def test_a_limit_of_the_service_itself(machine: Path) -> None:
    write(machine, {"proc/7/smaps_rollup": "00-ff ---p 0 [rollup]\nPss: 30720 kB\n"})
    budget = Budget(Options(memory_mb=50), lambda: [7, 8], machine)
    reason = asyncio.run(budget.reserve(1, 21 * MIB))
    assert "20 of the 50 of PENSTOCK_SERVING_MEMORY_MB" in reason
