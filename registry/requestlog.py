"""The request log as a service writes it and `penstock replay` reads it: names of files and columns.

One row of a file is one row of a request. A file holds rows of one version of one model:
`<folder>/<model>/<version>/<time>-<host>-<pid>-<number>.parquet`. It appears whole or not at all; what
begins with a dot is under way. Names sort by the time at which a file was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

#: What is known of a row besides what its model read and gave. `latency_ms` is that of its request.
TIME, REQUEST, ROW = "penstock.time", "penstock.request", "penstock.row"
MODEL, VERSION, REVISION = "penstock.model", "penstock.version", "penstock.revision"
STATUS, LATENCY = "penstock.status", "penstock.latency_ms"
COLUMNS = (TIME, REQUEST, ROW, MODEL, VERSION, REVISION, STATUS, LATENCY)
#: Inputs stand under their own names, unless they begin like one of ours; outputs under this prefix.
OUTPUT = "output."
RESERVED = ("penstock.", OUTPUT)
#: Keys of a file's metadata: the model's signature, and the inputs that were left out, both JSON.
SIGNATURE, OMITTED = b"penstock.signature", b"penstock.omitted"

_FILE = re.compile(r"\d{8}T\d{6}Z-[\w.-]+-\d+-\d{6}\.parquet", re.ASCII)


def is_log_file(path: Path) -> bool:
    """Whether a file's name is one that a request log gives."""
    return _FILE.fullmatch(path.name) is not None


def log_files(folder: Path) -> list[Path]:
    """The files of the log in `folder`, oldest first."""
    found = (path for path in folder.rglob("*.parquet") if is_log_file(path))
    return sorted(found, key=lambda path: path.name)


def left_out(inputs: Iterable[str], omitted: Iterable[str]) -> list[str]:
    """The inputs that are not logged: those that a setting names, and those named like our own."""
    asked = set(omitted)
    return [name for name in inputs if name in asked or name.startswith(RESERVED)]
