"""`python -m tests.campaigns --minutes M --seed S`: plays every campaign; see the package."""

from __future__ import annotations

import sys

import pytest


def main(words: list[str]) -> int:
    """Run the campaigns with pytest's options `words`; 0 where none failed."""
    fixed = ["-m", "campaign", "-n", "0", "--timeout=0", "-q"]
    budget = [] if any(word.startswith("--minutes") for word in words) else ["--minutes=1"]
    return int(pytest.main([*fixed, *budget, *words]))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
