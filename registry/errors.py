"""The errors of penstock, and the exit code that each becomes at the command line.

```
PenstockError            70  a defect in penstock, or something nobody foresaw
├── UsageError           64  the words of a command or a parameter are off
├── BadData              65  data breaks its contract; trying again will not help
│   └── Corrupt          65  bytes differ from the digest that was promised
├── NotFound             66  an artifact, alias, day or file is not there
├── StoreError           74  reading or writing the artifact store failed
│   └── StoreUnwritable  73  the store is read-only or full
├── Temporary            75  may work when tried again
├── Refused              77  a rule forbids it: a gate, a guard, a policy
└── ConfigError          78  a setting is wrong
```

The codes are those of BSD's sysexits(3). Packages derive their own errors from these. Every
error says what happened, why, and what to do next.
"""

from __future__ import annotations

from typing import ClassVar


class PenstockError(Exception):
    """Something went wrong; `what` happened, `why`, and what to do about it (`todo`)."""

    exit_code: ClassVar[int] = 70
    kind: ClassVar[str] = "defect"

    def __init__(self, what: str, why: str = "", todo: str = "") -> None:
        super().__init__(what, why, todo)
        self.what = what
        self.why = why
        self.todo = todo

    def __str__(self) -> str:
        text = f"{self.what}: {self.why}" if self.why else self.what
        return f"{text}. {self.todo}" if self.todo else text


class UsageError(PenstockError):
    """A parameter, a name or an option is malformed or unknown."""

    exit_code = 64
    kind = "usage"


class BadData(PenstockError):
    """Data breaks its contract (a column, a manifest, a model file); a retry changes nothing."""

    exit_code = 65
    kind = "bad-data"


class Corrupt(BadData):
    """Bytes in the store or the cache are not those whose digest was recorded."""

    kind = "corrupt"


class NotFound(PenstockError):
    """A named thing (artifact, alias, day, file) does not exist."""

    exit_code = 66
    kind = "not-found"


class StoreError(PenstockError):
    """The artifact store could not be read or written."""

    exit_code = 74
    kind = "store"


class StoreUnwritable(StoreError):
    """The store refuses writes: read-only, no permission, or full."""

    exit_code = 73
    kind = "store-unwritable"


class Temporary(PenstockError):
    """A passing condition; the same call may succeed later."""

    exit_code = 75
    kind = "temporary"


class Refused(PenstockError):
    """A rule forbids what was asked."""

    exit_code = 77
    kind = "refused"


class ConfigError(PenstockError):
    """A setting has a value that cannot be used."""

    exit_code = 78
    kind = "config"
