"""The budget: whether one more generation fits into memory beside all that is there.

One budget for all models of a service. What was promised to a candidate counts until it is loaded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from registry.logs import get_logger
from serving.memory import Room, rooms, used_by
from serving.options import Options

log = get_logger(__name__)
MIB = 1 << 20
#: Room for error in what was measured: another load of the same model may need a little more.
MARGIN = 1.2


class Budget:
    """`pids` gives the processes of the service. `root` is where /proc and /sys are."""

    def __init__(
        self, options: Options, pids: Callable[[], Iterable[int]], root: Path = Path("/")
    ) -> None:
        #: Each frees what it can spare when memory is short.
        self.on_pressure: list[Callable[[], Awaitable[None]]] = []
        self._options = options
        self._pids = pids
        self._root = root
        self._promised: dict[int, int] = {}

    def need(self, folder: Path, seen: tuple[Path, int] | None) -> int:
        """Bytes that the bundle in `folder` may need, of all workers together.

        What a bundle of that model needed is known in `seen`, its folder and its bytes: a larger one
        is taken to need more in proportion. Otherwise it is the size of its files times a factor.
        """
        size = _size(folder)
        if seen is not None and seen[1]:
            return int(seen[1] * MARGIN * max(1.0, size / max(1, _size(seen[0]))))
        return int(size * self._options.memory_factor * self._options.workers)

    async def reserve(self, number: int, need: int) -> str:
        """Promise `need` bytes to generation `number`; gives the reason if they are not there."""
        room = await self._tightest()
        if room is not None and room.free < need:
            for free_some in self.on_pressure:
                await free_some()
            room = await self._tightest()
        if room is not None and room.free < need:
            log.warning("no memory", generation=number, need=need, free=room.free)
            return (
                f"it needs about {_mib(need)} MiB of memory and {_mib(max(0, room.free))} of the "
                f"{_mib(room.limit)} of {room.source} are free. Raise the limit, serve fewer models "
                f"or workers, or set PENSTOCK_SERVING_RELOAD_POLICY=resource"
            )
        self._promised[number] = need
        return ""

    def settle(self, number: int) -> None:
        """What generation `number` needs is measured from now on, or not needed any more."""
        self._promised.pop(number, None)

    async def _tightest(self) -> Room | None:
        found = await asyncio.to_thread(lambda: list(self._rooms()))
        promised = sum(self._promised.values())
        tightest = min(found, key=lambda room: room.free, default=None)
        return tightest and tightest._replace(free=tightest.free - promised)

    def _rooms(self) -> Iterable[Room]:
        yield from rooms(self._root)
        if self._options.memory_mb:
            limit = self._options.memory_mb * MIB
            used = used_by(self._pids(), self._root)
            yield Room(limit - used, limit, "PENSTOCK_SERVING_MEMORY_MB")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _mib(size: int) -> int:
    return -(-size // MIB)
