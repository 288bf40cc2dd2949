"""The text of a new use case's modules, tests and page, from templates beside this module."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from string import Template

from penstock.scaffold.described import LISTED, Described, File, roomy

_AFTER = """#: A file without a column that says so: a label counts as known this long after its row.
_KNOWN_AFTER = dt.timedelta(days=1)
"""
_GROUP = """#: Each value of this one has a rate of its own, as a feature and as the base rate to beat.
"""
_MODULES = ("settings", "sources", "features", "label", "quality", "predictor")


def render(name: str, file: File, source: str, source_words: str) -> dict[str, str]:
    """Every file of the use case `name`, by its path in the checkout.

    `source` is the Python expression of the file's path, `source_words` names it for people.
    """
    words = {"name": name, **_of_settings(file, source), **_of_rows(file), **_of_page(file)}
    words |= _of_group(name, file)
    words["source_words"] = source_words
    folder = f"usecases/{name}"
    files = {f"{folder}/{module}.py": f"{module}.py" for module in _MODULES}
    files |= {
        f"tests/usecases/{name}/test_{name}.py": "tests.py",
        f"docs/usecases/{name}.md": "page.md",
    }
    texts = {path: _fill(template, words, file) for path, template in files.items()}
    about = f'"""{name}: sources, features, label and settings; see docs/usecases/{name}.md."""\n'
    return {f"{folder}/__init__.py": about, f"tests/usecases/{name}/__init__.py": "", **texts}


def _fill(template: str, words: dict[str, str], file: File) -> str:
    text = Path(__file__).with_name(f"{template}.tmpl").read_text(encoding="utf-8")
    columns = {
        "sources.py": _column,
        "quality.py": _values,
        "page.md": _table,
    }.get(template)
    listed = "\n".join(columns(each) for each in file.columns) if columns else ""
    return Template(text).substitute(words, columns=listed)


def _of_settings(file: File, source: str) -> dict[str, str]:
    return {
        "source": source,
        "first": _numbers(file.first),
        "last": _numbers(file.last),
        "day": _numbers(file.run_date),
        "lookback": str(min(7, max(2, file.days // 6))),
        "window": str(max(min(28, file.days // 2), 2, file.reach)),
        "test_window": str(min(max(5, file.reach), (file.run_date - file.first).days)),
        "least": str(file.per_day[0] // 2),
        "most": f"{file.per_day[1] * 3:_}",
    }


def _of_rows(file: File) -> dict[str, str]:
    roles = file.roles
    read = {roles.id: "pa.string()", roles.time: "AS_OF", roles.label: "pa.string()"}
    if roles.known_at:
        read[roles.known_at] = "AS_OF"
        known, after = f"as_utc(table, {_quoted(roles.known_at)})", ""
    else:
        known, after = f"pc.add(as_utc(table, {_quoted(roles.time)}), _KNOWN_AFTER)", _AFTER
    return {
        "read": "\n".join(f"    {_quoted(name)}: {kind}," for name, kind in read.items()),
        "known": known,
        "after": after,
        "time_quoted": _quoted(roles.time),
        "id_quoted": _quoted(roles.id),
        "label_quoted": _quoted(roles.label),
        "positive_quoted": _quoted(file.positive),
    }


def _of_group(name: str, file: File) -> dict[str, str]:
    """The words about the column by which rates are counted: the first category, or none."""
    category = _category(file)
    if category is None:
        everyone = '    return pa.array(["all"] * features.num_rows, pa.string())'
        return {"group": "", "and_group": "", "from_group": "", "by": "", "groups": everyone}
    return {
        "group": f"{_GROUP}GROUP = {_quoted(category)}\n",
        "and_group": ", GROUP",
        "from_group": f"\nfrom usecases.{name}.sources import GROUP\n",
        "by": "GROUP",
        "groups": '    return features[GROUP].fill_null("").combine_chunks()',
    }


def _category(file: File) -> str | None:
    return next((each.name for each in file.columns if each.type == "category"), None)


def _of_page(file: File) -> dict[str, str]:
    roles = file.roles
    known = f"at the time in `{roles.known_at}`" if roles.known_at else "a day after its row"
    category = _category(file)
    left_out = [f"- `{name}` is left out: {why}" for name, why in file.left_out.items()]
    return {
        "time_shown": f"`{roles.time}`",
        "id_shown": f"`{roles.id}`",
        "label_words": f"`{roles.label}` is `{file.positive}`",
        "known_words": known,
        "by_words": f" of the same `{category}`" if category else "",
        "left_out": "".join(f"\n{line}" for line in left_out) + ("\n" if left_out else ""),
        "first_day": str(file.first),
        "last_day": str(file.last),
        "date": str(file.run_date),
    }


def _column(column: Described) -> str:
    kind = "" if column.type == "float64" else f', "{column.type}"'
    return f"    Column({_quoted(column.name)}{kind}),"


def _values(column: Described) -> str:
    """The expectation of a column, with room around what was seen."""
    words = []
    bounds = roomy(column)
    if bounds:
        words = [f"low={bounds[0]:.12g}", f"high={bounds[1]:.12g}"]
    if 0 < len(column.categories) <= LISTED:
        listed = ", ".join(map(_quoted, column.categories))
        words += [f"categories=[{listed}]", "outside=0.2"]
    if column.nulls:
        words.append(f"nulls={min(1.0, round(2 * column.nulls + 0.1, 1)):g}")
    return f"    {_quoted(column.name)}: Values({', '.join(words)}),"


def _table(column: Described) -> str:
    if column.categories:
        more = " …" if len(column.categories) > LISTED else ""
        seen = ", ".join(column.categories[:LISTED]).replace("|", "\\|") + more
    elif column.low is not None and column.high is not None:
        seen = f"{column.low:.6g} to {column.high:.6g}"
    else:
        seen = ""
    return f"| `{column.name}` | {column.type} | {seen} |"


def _numbers(date: dt.date) -> str:
    return f"{date.year}, {date.month}, {date.day}"


def _quoted(text: str | None) -> str:
    """`text` as a Python literal with double quotes."""
    return json.dumps(text, ensure_ascii=False)
