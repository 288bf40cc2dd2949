"""Where two files differ: the first field of JSON, row of a table, line of text, or byte.

`python -m registry.difference OLD NEW` prints it as JSON. It is a program of its own, so that a
pipeline can ask without loading what reads tables.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_TEXT = {".txt", ".csv", ".html", ".svg", ".md"}


def first_difference(old: Path, new: Path) -> str | None:
    """The first place in which two files differ, in words; None when all bytes are equal."""
    if old.read_bytes() == new.read_bytes():
        return None
    readers: dict[str, Callable[[Path, Path], str | None]] = {
        ".json": _in_json,
        ".parquet": _in_table,
        **dict.fromkeys(_TEXT, _in_text),
    }
    reader = readers.get(old.suffix)
    try:
        found = reader(old, new) if reader else None
    except (ValueError, OSError) as error:  # ArrowInvalid is a ValueError
        found = f"one of them cannot be read as {old.suffix[1:]}: {error}"
    return found or _in_bytes(old, new)


def _in_json(old: Path, new: Path) -> str | None:
    before, after = json.loads(old.read_bytes()), json.loads(new.read_bytes())
    return next(_fields("", before, after), "the values are equal, their spelling is not")


def _fields(where: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            here = f"{where}.{name}" if where else str(name)
            if name in old and name in new:
                yield from _fields(here, old[name], new[name])
            else:
                yield f"field {here} is only in the {'first' if name in old else 'second'}"
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _fields(f"{where}[{place}]", before, after)
    elif old != new or type(old) is not type(new):
        yield f"field {where or 'at the top'}: {_word(old)} against {_word(new)}"


def _word(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _in_text(old: Path, new: Path) -> str | None:
    with (
        old.open(encoding="utf-8", errors="replace", newline="") as before,
        new.open(encoding="utf-8", errors="replace", newline="") as after,
    ):
        for number, pair in enumerate(itertools.zip_longest(before, after), 1):
            if pair[0] != pair[1]:
                ended = pair[0] is None or pair[1] is None
                words = " against ".join(
                    "nothing" if line is None else _line(line) for line in pair
                )
                return f"line {number}: {words}" + (", which is longer" if ended else "")
    return None


def _line(text: str) -> str:
    text = text.rstrip("\r\n")
    return f"{text[:57]}…" if len(text) > 60 else text


def _in_table(old: Path, new: Path) -> str | None:
    import pyarrow.parquet as pq

    before, after = pq.read_table(old), pq.read_table(new)
    for name in [*before.column_names, *after.column_names]:
        if name not in before.column_names or name not in after.column_names:
            return f"column {name} is only in one of them"
        if before.schema.field(name).type != after.schema.field(name).type:
            types = (before.schema.field(name).type, after.schema.field(name).type)
            return f"column {name} is of type {types[0]} against {types[1]}"
    if before.num_rows != after.num_rows:
        return f"{before.num_rows} rows against {after.num_rows}"
    found = min(
        filter(None, (_in_column(before, after, n) for n in before.column_names)), default=None
    )
    if found is not None:
        row, name, values = found
        return f"row {row}, column {name}: {values}"
    writers = (pq.read_metadata(old).created_by, pq.read_metadata(new).created_by)
    return "every row is equal; the files were written differently" + (
        f" ({writers[0]} against {writers[1]})" if writers[0] != writers[1] else ""
    )


def _in_column(before: Any, after: Any, name: str) -> tuple[int, str, str] | None:
    """The first row in which a column differs; a missing number equals a missing number."""
    if before[name].equals(after[name]):
        return None
    pairs = zip(before[name].to_pylist(), after[name].to_pylist(), strict=True)
    for row, (old, new) in enumerate(pairs):
        if old != new and not (old != old and new != new):  # noqa: PLR0124 (that is how NaN shows)
            return row, name, f"{old!r} against {new!r}"
    return None


def _in_bytes(old: Path, new: Path) -> str:
    before, after = old.read_bytes(), new.read_bytes()
    place = next(
        (n for n, (one, other) in enumerate(zip(before, after, strict=False)) if one != other),
        min(len(before), len(after)),
    )
    return f"byte {place:,} of {len(before):,} against {len(after):,}"


def main() -> int:
    """Compare the two files of the command line; prints one JSON document."""
    old, new = map(Path, sys.argv[1:3])
    sys.stdout.write(json.dumps({"difference": first_difference(old, new)}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
