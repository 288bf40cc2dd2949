"""Values of the variables of specifications: from files, from words, and from settings.

A value is kept as an HCL expression, which is what Nomad parses. Later sources win: what the
settings say, then files of variables in their order, then `--var`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.registration.specs import Spec, Variable
from registry.errors import NotFound, UsageError

#: Name of a variable → HCL expression.
Values = Mapping[str, str]
#: What decides which job it is, and comes from elsewhere.
TOLD = {
    "kind": "registered for each kind there is",
    "size": "registered for each size there is",
    "usecase": "an argument of its own",
    "models": "an argument of its own",
    "service": "an argument of its own",
    "prefix": "the setting PENSTOCK_NOMAD_PREFIX, by which pipelines find the jobs",
}
#: An assignment at the beginning of a line, as `nomad fmt` leaves one outside of any bracket.
_ASSIGNMENT = re.compile(r"^(\w+)[ \t]*=[ \t]*", re.MULTILINE)
_COMMENT = re.compile(r"^\s*(#|//).*$", re.MULTILINE)


def expression(value: Any) -> str:
    """A JSON value as an HCL expression: the same text, but `${` and `%{` begin nothing there."""
    return json.dumps(value).replace("${", "$${").replace("%{", "%%{")


def read_file(path: Path) -> dict[str, str]:
    """The values in a file of variables (`NAME = EXPRESSION`, as `nomad fmt` formats it).

    Raises:
        NotFound: it cannot be read.
        UsageError: it has another form.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise NotFound(f"{path} cannot be read", error.strerror or "") from None
    first, *rest = _ASSIGNMENT.split(_COMMENT.sub("", text))
    names, values = rest[::2], [value.strip() for value in rest[1::2]]
    if first.strip() or len(set(names)) != len(names) or not all(values):
        raise UsageError(
            f"{path} is not a file of variables",
            "each line that is not indented must be NAME = VALUE, each name once",
            "`nomad fmt` puts it into that form.",
        )
    return dict(zip(names, values, strict=True))


def read_words(words: Sequence[str], known: Mapping[str, Variable]) -> dict[str, str]:
    """The values in words such as `count=3`; text of a `string` needs no quotes.

    Raises:
        UsageError: a word has another form.
    """
    found = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise UsageError(f"--var {word!r} cannot be read", "", "Write it as NAME=VALUE.")
        is_text = name in known and known[name].type == "string"
        found[name] = expression(text) if is_text else text
    return found


def given_values(
    files: Sequence[Path], words: Sequence[str], known: Mapping[str, Variable]
) -> dict[str, str]:
    """What files and words say together.

    Raises:
        NotFound: a file cannot be read.
        UsageError: something is malformed, or names a variable that no specification declares.
    """
    found: dict[str, str] = {}
    for path in files:
        found |= read_file(path)
    found |= read_words(words, known)
    if told := sorted(found.keys() & TOLD.keys()):
        raise UsageError(f"{told[0]} is not a variable to be given", f"it is {TOLD[told[0]]}")
    if unknown := sorted(found.keys() - known.keys()):
        raise UsageError(
            f"no job specification has a variable {unknown[0]!r}",
            f"there are {', '.join(sorted(known))}",
        )
    return found


def filled_in(spec: Spec, values: Values) -> str:
    """The content of a file of variables for `spec` alone.

    Raises:
        UsageError: a variable without a default has no value.
    """
    missing = [v for v in spec.variables.values() if v.required and v.name not in values]
    if missing:
        raise UsageError(
            f"{spec.path.name} needs a value for {missing[0].name}",
            missing[0].description.rstrip("."),
            f"Give it with --var {missing[0].name}=VALUE.",
        )
    mine = ((name, values[name]) for name in spec.variables if name in values)
    return "".join(f"{name} = {value}\n" for name, value in mine)
