"""A pipeline of one attempt, as a process that tests can kill.

python -m tests.pipelines.runners.pipeline VAR ATTEMPT COMMAND, where the last two are JSON.
Prints the kind of its end ("None" for success).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec

from pipelines.runners.local import LocalRunner
from registry.artifacts.attempt import Attempt
from tests.contracts.rigs import REFERENCE, ROOMY


def main(var: str, record: str, command: str) -> None:
    attempt = msgspec.json.decode(record, type=Attempt)
    with LocalRunner(Path(var), ROOMY, command=lambda *_: json.loads(command), host="here") as one:
        one.start(attempt, REFERENCE)
        print("started", flush=True)
        ended = one.wait(attempt)
        print(ended and ended.kind, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
