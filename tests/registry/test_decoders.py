from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from registry.decoders import decoder

#: Many threads meet at a struct that nobody has decoded yet. A crash ends the process, so each
#: race has one of its own.
RACE = """
import threading, msgspec, sys
from registry.decoders import decoder
sys.setswitchinterval(1e-6)
for turn in range(60):
    inner = msgspec.defstruct("Inner", [(f"f{n}", int | str | None, None) for n in range(30)])
    outer = msgspec.defstruct("Outer", [(f"g{n}", inner | None, None) for n in range(10)])
    start = threading.Barrier(8)
    def read():
        start.wait()
        assert decoder(outer).decode(b'{"g1": {"f2": 3}}').g1.f2 == 3
    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
print("whole")
"""


class Point(msgspec.Struct, forbid_unknown_fields=True):
    x: int


def test_a_decoder_is_built_once_and_strict():
    assert decoder(Point) is decoder(Point)
    assert decoder(Point).decode(b'{"x": 1}') == Point(1)
    with pytest.raises(msgspec.ValidationError):
        decoder(Point).decode(b'{"x": "one"}')


def test_threads_that_meet_at_a_new_struct_do_not_crash():
    command = [sys.executable, "-X", "faulthandler", "-c", RACE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr
