"""What the text of a setting means, by its kind.

Each function raises ValueError, which says what the text must be.
"""

from __future__ import annotations

from registry.secrets.reference import parse_place


def positive_int(text: str) -> int:
    """A whole number from 1 on."""
    number = int(text)
    if number < 1:
        raise ValueError("must be 1 or more")
    return number


def non_negative_int(text: str) -> int:
    """A whole number from 0 on."""
    number = int(text)
    if number < 0:
        raise ValueError("must be 0 or more")
    return number


def non_negative(text: str) -> float:
    """A number from 0 on, not infinite."""
    number = float(text)
    if not 0 <= number < float("inf"):
        raise ValueError("must be 0 or more")
    return number


def positive(text: str) -> float:
    """A number above 0, not infinite."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError("must be above 0")
    return number


def sample(text: str) -> float:
    """A share that may be nothing: 0 to 1."""
    number = float(text)
    if not 0 <= number <= 1:
        raise ValueError("must be from 0 to 1")
    return number


def port(text: str) -> int:
    """A port; 0 is any."""
    number = int(text)
    if not 0 <= number < 65536:
        raise ValueError("must be from 0 to 65535")
    return number


def flag(text: str) -> bool:
    """Yes or no, in one of the words for them."""
    words = {"1": True, "true": True, "yes": True, "on": True,
             "0": False, "false": False, "no": False, "off": False}  # fmt: skip
    if text.lower() not in words:
        raise ValueError("must be one of 1, true, yes, on, 0, false, no, off")
    return words[text.lower()]


def retention(text: str) -> dict[str, float]:
    """Days by family: `FAMILY=DAYS,FAMILY=DAYS`."""
    found = {}
    for part in text.split(","):
        family, equals, days = part.strip().partition("=")
        if not equals or not family:
            raise ValueError("must be FAMILY=DAYS, joined by commas")
        found[family] = non_negative(days)
    return found


def names(text: str) -> list[str]:
    """Names, joined by commas."""
    found = [part.strip() for part in text.split(",")]
    if not all(found):
        raise ValueError("must be names, joined by commas")
    return found


def share(text: str) -> float:
    """A share that is not nothing: above 0, at most 1."""
    number = float(text)
    if not 0 < number <= 1:
        raise ValueError("must be above 0, and at most 1")
    return number


def niceness(text: str) -> int:
    """Niceness of a process, 0 to 19."""
    number = int(text)
    if not 0 <= number <= 19:
        raise ValueError("must be from 0 to 19")
    return number


def reload_policy(text: str) -> str:
    """What happens to a model that does not fit beside the live one."""
    if text not in ("availability", "resource"):
        raise ValueError("must be availability or resource")
    return text


def level(text: str) -> str:
    """A level of the log, in lower case."""
    if text.lower() not in ("debug", "info", "warning", "error"):
        raise ValueError("must be one of debug, info, warning, error")
    return text.lower()


def secret_place(text: str) -> str:
    """Where a secret is kept, not the secret."""
    return str(parse_place(text))


def environment_name(text: str) -> str:
    """The name of an environment, in parts between slashes."""
    parts = text.split("/")
    if not all(part and part.replace("-", "").replace("_", "").isalnum() for part in parts):
        raise ValueError("must be words of letters, digits, - and _, joined by /")
    return text


def job_prefix(text: str) -> str:
    """What names of jobs begin with."""
    if not text.replace("-", "").replace("_", "").isalnum():
        raise ValueError("must be letters, digits, - and _")
    return text
