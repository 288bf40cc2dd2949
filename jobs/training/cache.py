"""Binned rows of large windows, kept between the trainings of a search, of retries, of settings.

A file is called `<key>-<sha256 of its bytes>.bin`. The key covers all that bins depend on: the
library's version, the files of the window, the rows that count, the inputs and the settings of
binning. So it is found by what it was made from, checked by its own name before the library reads
it, and made again where it is damaged. Trees are the same to the bit with and without.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jobs.training.bins import Rows
from jobs.training.fitting import Fitting
from registry.errors import BadData
from registry.models.bundle import encode_json
from registry.settings import Settings

#: A window of fewer rows is binned in less time than it takes to look for it.
LEAST_ROWS = 100_000
#: The library's settings that bins depend on; `seed` where the next is not given, and
#: `min_data_in_leaf` since columns that could not be split anyway are left out.
_BINNING = {
    "bin_construct_sample_cnt", "categorical_feature", "data_random_seed", "enable_bundle",
    "feature_pre_filter", "is_enable_sparse", "max_bin", "max_bin_by_feature",
    "max_conflict_rate", "min_data_in_bin", "min_data_in_leaf", "pre_partition", "seed",
    "sparse_threshold", "use_missing", "zero_as_missing",
}  # fmt: skip


@contextlib.contextmanager
def binned(fitting: Fitting, settings: Mapping[str, Any], text: str) -> Iterator[Rows]:
    """The window's binned rows, from the cache where they are in it, and in it afterwards."""
    limit = Settings.load().binned_mb << 20
    if fitting.cache is None or not limit or len(fitting.window) < LEAST_ROWS:
        with Rows.from_window(fitting.window, fitting.signature, text) as rows:
            yield rows
        return
    key = key_of(fitting, settings)
    with _found(fitting.cache, key, text) or _made(fitting, key, text, limit) as rows:
        yield rows


def key_of(fitting: Fitting, settings: Mapping[str, Any]) -> str:
    """A digest of all that the bins depend on."""
    made_from = {
        "library": importlib.metadata.version("lightgbm"),
        "signature": hashlib.sha256(encode_json(fitting.signature)).hexdigest(),
        "settings": {name: settings[name] for name in sorted(_BINNING & settings.keys())},
        "days": [
            [_digest(day.path), hashlib.sha256(day.known.tobytes() + day.labels.tobytes()).hexdigest()]
            for day in fitting.window.days
        ],
    }  # fmt: skip
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def _found(folder: Path, key: str, text: str) -> Rows | None:
    """The rows of an undamaged file; one that is damaged is removed."""
    for path in folder.glob(f"{key}-*.bin"):
        with contextlib.suppress(OSError, BadData):  # gone meanwhile, or not read by the library
            if _digest(path) == path.stem.removeprefix(f"{key}-"):
                rows = Rows.load(path, text)
                os.utime(path)
                return rows
        path.unlink(missing_ok=True)
    return None


def _made(fitting: Fitting, key: str, text: str, limit: int) -> Rows:
    rows = Rows.from_window(fitting.window, fitting.signature, text)
    if fitting.cache is not None:
        with contextlib.suppress(OSError, BadData):  # a full disk is no reason not to train
            _keep(rows, fitting.cache, key, limit)
    return rows


def _keep(rows: Rows, folder: Path, key: str, limit: int) -> None:
    """Put the rows into the cache by one rename, and drop what was not used for longest."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".incoming-", dir=folder) as place:
        incoming = Path(place) / "rows.bin"
        rows.save(incoming)
        if incoming.stat().st_size <= limit:
            incoming.rename(folder / f"{key}-{_digest(incoming)}.bin")
    _shrink(folder, limit)


def _shrink(folder: Path, limit: int) -> None:
    """Keep the files used last, up to `limit` bytes together."""
    files = sorted(folder.glob("*.bin"), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for path in files:
        total += path.stat().st_size
        if total > limit:
            path.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
