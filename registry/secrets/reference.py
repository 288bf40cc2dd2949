"""Where a secret is, as a setting spells it. What is malformed is never echoed: it may be one."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FORMS = {
    # A mount and a path below it, such as secret/penstock/store.
    "vault": re.compile(r"[\w-]+(/[\w.-]*[\w-])+", re.ASCII),
    "file": re.compile(r"[^\x00-\x1f\x7f]+"),
    "env": re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII),
}


@dataclass(frozen=True)
class Place:
    """A kind of source (vault, file, env) and the place there."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def parse_place(text: str) -> Place:
    """The place that `text` names, such as `vault:secret/penstock/store`.

    Raises:
        ValueError: it names none; the message does not repeat the text.
    """
    kind, colon, name = text.partition(":")
    form = _FORMS.get(kind)
    if not (colon and form and form.fullmatch(name)):
        raise ValueError(
            "must be vault:MOUNT/PATH, file:PATH or env:VARIABLE, where the secret is; "
            "never the secret itself"
        )
    return Place(kind, name)
