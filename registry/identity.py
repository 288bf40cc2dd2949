"""Who acts: the name that decisions and runs carry."""

from __future__ import annotations

import getpass
import os
import socket


def user() -> str:
    """The login name of this process's user, in letters, digits, - and _."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in the password file
        name = f"uid{os.getuid()}"
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name)


def identity() -> str:
    """`user@host`: a claim, not a proof. Where there are tokens, they say who."""
    return f"{user()}@{socket.gethostname().split('.')[0]}"


def checked_identity(text: str) -> str:
    """`text`, if it can stand in a table and a log: 1 to 200 printable characters.

    Raises:
        ValueError: it cannot.
    """
    if not text.strip() or len(text) > 200 or not text.isprintable():
        raise ValueError("must be 1 to 200 printable characters")
    return text.strip()
