"""`make servers`: has each test server at hand, and says where it came from."""

from __future__ import annotations

import sys
import time

from tests.servers import programs


def main() -> int:
    """Find or build every server; 0, or 69 where one is missing."""
    missing = 0
    for name, program in programs.PROGRAMS.items():
        found = programs.find(name)
        if found:
            where = "build of this version" if found == program.cached else "installed"
            print(f"servers: {name} {found} ({where})")
            continue
        print(
            f"servers: {name} {program.version}: building with Go, once (a few minutes)", flush=True
        )
        try:
            start = time.monotonic()
            built = programs.build(name)
            print(f"servers: {name} {built} (built in {time.monotonic() - start:.0f} s)")
        except programs.MissingServerError as error:
            print(f"servers: {error}", file=sys.stderr)
            missing += 1
    return 69 if missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
