"""What a plan of Nomad changes, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

#: Longer values are cut in a line for people.
WIDTH = 60


def changes(diff: Mapping[str, Any]) -> list[str]:
    """The lines of a plan's `Diff`, such as `task job, Resources: MemoryMB 1024 → 4096`."""
    return list(_lines(diff, ""))


def _lines(diff: Mapping[str, Any], place: str) -> Iterator[str]:
    for field in diff.get("Fields") or ():
        if field.get("Type") != "None":
            yield f"{place}: {_field(field)}" if place else _field(field)
    for kind, word in (("Objects", ""), ("TaskGroups", "group"), ("Tasks", "task")):
        for part in diff.get(kind) or ():
            if part.get("Type") == "None":
                continue
            name = " ".join(filter(None, (word, part.get("Name", ""))))
            yield from _lines(part, f"{place}, {name}" if place else name)


def _field(field: Mapping[str, Any]) -> str:
    name, old, new = field.get("Name", ""), _value(field.get("Old")), _value(field.get("New"))
    if not old or not new:
        return f"{name} {new} (new)" if new else f"{name} {old} (removed)"
    return f"{name} {old} → {new}"


def _value(text: Any) -> str:
    line = " ".join(str(text or "").split())
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"
