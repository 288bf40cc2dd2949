from __future__ import annotations

from pipelines.registration.difference import changes


def field(name: str, old: str, new: str, kind: str = "Edited") -> dict[str, str]:
    return {"Type": kind, "Name": name, "Old": old, "New": new}


def test_nothing_has_changed():
    assert changes({"Type": "None", "Fields": None, "Objects": None, "TaskGroups": None}) == []


def test_each_change_is_a_line_that_says_where():
    task = {
        "Type": "Edited",
        "Name": "job",
        "Fields": [field("Env[A]", "", "1", "Added"), field("Driver", "x", "x", "None")],
        "Objects": [
            {"Type": "Edited", "Name": "Resources", "Fields": [field("MemoryMB", "1024", "4096")]},
            {"Type": "None", "Name": "LogConfig", "Fields": [field("MaxFiles", "1", "2")]},
        ],
    }
    group = {"Type": "Edited", "Name": "job", "Fields": [], "Tasks": [task]}
    diff = {"Type": "Edited", "Fields": [field("Priority", "50", "")], "TaskGroups": [group]}
    assert changes(diff) == [
        "Priority 50 (removed)",
        "group job, task job: Env[A] 1 (new)",
        "group job, task job, Resources: MemoryMB 1024 → 4096",
    ]


def test_long_values_are_cut():
    (line,) = changes({"Fields": [field("X", "a\nb", "y" * 500)]})
    assert line.startswith("X a b → yyy")
    assert len(line) < 90
