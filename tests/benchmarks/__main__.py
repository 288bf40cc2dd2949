"""`make bench`: runs the benchmarks one after the other, each in a process of its own.

A benchmark is a module here with a row in `BENCHMARKS`. It prints ratios measured in one run and
judges nothing; it finds the folder of peer harnesses, if there is one, as its first argument.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

BENCHMARKS = {
    "batch": "Parquet to Parquet, beside pandas and Booster.predict; two minutes, with peers an hour",
    "forest": "LightGBM models natively, beside LightGBM; some minutes",
    "flights": "models of flights beside the base rate, over 45 days; about a quarter of an hour",
    "link": "a row to a worker and back, and the pages of one more worker; half a minute",
    "nomad": "no-op jobs through a real Nomad agent, beside a bare loop; about five minutes",
    "orchestration": "tasks through the stub runner, beside Luigi alone",
    "overload": "five times what a slow model can do, from clients that do not wait; a minute",
    "payloads": "600 kB of bytes and a stage that sums them, beside aqueduct; a minute or two",
    "reload": "reloads at half of the load that is possible, beside no reload; two minutes",
    "serving": "requests to a served model, beside other servers where there are peers; ten minutes",
    "training": "Parquet to a model file, memory beside pandas; some minutes",
    "views": "commands on a store of 6,800 artifacts, cold; some minutes to fill it",
}


def main() -> int:
    """Run what is there; 1 if one of them failed."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--peers", type=Path, help="folder of peer harnesses")
    peers: Path | None = parser.parse_args().peers
    if peers is None:
        print("bench: no PEERS=folder was given: peers are left out, ratios are to our own parts")
    failed = 0
    for name, about in BENCHMARKS.items():
        module = f"tests.benchmarks.{name}"
        if importlib.util.find_spec(module) is None:
            continue
        print(f"bench: {name}: {about}", flush=True)
        words = [str(peers)] if peers else []
        failed |= bool(
            subprocess.run([sys.executable, "-m", module, *words], check=False).returncode
        )
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
