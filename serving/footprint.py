"""The footprint: how much memory a process has, and how much it had at most."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_FIELDS = {"VmHWM": "peak", "RssAnon": "anonymous", "RssFile": "files", "RssShmem": "shmem"}


@dataclass(frozen=True)
class Footprint:
    """Bytes of a process as proc(5) counts them; all 0 where there is no /proc."""

    peak: int = 0
    anonymous: int = 0
    files: int = 0
    shmem: int = 0

    @classmethod
    def read(cls, path: Path = Path("/proc/self/status")) -> Footprint:
        """The footprint of this process, or what another `status` file says."""
        try:
            lines = path.read_text().splitlines()
        except OSError:
            return cls()
        fields = (line.split(":", 1) for line in lines)
        found = {n: int(v.split()[0]) * 1024 for n, v in fields if n in _FIELDS}
        return cls(**{_FIELDS[name]: value for name, value in found.items()})

    def growth_since(self, before: Footprint) -> tuple[int, int]:
        """Bytes of its own and of shared files by which it grew at most since `before`."""
        shared = self.files + self.shmem - before.files - before.shmem
        most = self.peak - before.anonymous - before.files - before.shmem
        return max(0, most - max(0, shared)), max(0, shared)
