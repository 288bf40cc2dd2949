"""Who acts: the name that decisions and runs carry."""

from __future__ import annotations

import getpass
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry.settings import Settings


def user() -> str:
    """The login name of this process's user, in letters, digits, - and _."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in the password file
        name = f"uid{os.getuid()}"
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name)


def who_am_i(settings: Settings | None = None) -> str:
    """PENSTOCK_WHO, or `user@host`: a claim, not a proof. Where there are tokens, they say who."""
    named = settings.who if settings else None
    return str(named) if named else f"{user()}@{socket.gethostname().partition('.')[0]}"


def checked_identity(text: str) -> str:
    """`text`, if it can stand in a table and a log: 1 to 200 printable characters.

    Raises:
        ValueError: it cannot.
    """
    if not text.strip() or len(text) > 200 or not text.isprintable():
        raise ValueError("must be 1 to 200 printable characters")
    return text.strip()
