"""CPU of a service for a request of 64 rows, as JSON and as bytes: `python -m tests.benchmarks.tensors`.

One model of 28 numeric columns; the same rows in each form, in turns, on one connection. What is
counted is user and system time of every process of the service, for one request.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from registry.models.signature import Input, Output, Signature
from tests.campaigns.spoilt import HEADER, Request
from tests.serving import models
from tests.serving.rig import Publisher, Service, descendants, service

ROWS, COLUMNS = 64, 28
SIGNATURE = Signature(tuple(Input(f"x{i}") for i in range(COLUMNS)), (Output("p"),))
PATH = "/v2/models/wide/infer"


def forms() -> dict[str, bytes]:
    """The same rows as requests, by the name of the form."""
    matrix = np.random.default_rng(1).normal(size=(ROWS, COLUMNS))
    tensor = {"name": "rows", "datatype": "FP64", "shape": [ROWS, COLUMNS]}
    listed = json.dumps({"inputs": [{**tensor, "data": matrix.ravel().tolist()}]})
    made = {"JSON": Request(PATH, listed.encode())}
    for name, datatype in (("FP64", "<f8"), ("FP32", "<f4")):
        data = matrix.astype(datatype).tobytes()
        about = {**tensor, "datatype": name, "parameters": {"binary_data_size": len(data)}}
        asked = {"inputs": [about], "parameters": {"binary_data_output": True}}
        head = json.dumps(asked).encode()
        made[f"binary {name}"] = Request(PATH, head + data, {HEADER: str(len(head))})
    return {name: request.encode() for name, request in made.items()}


def cpu(running: Service) -> float:
    """Seconds that the processes of the service have spent."""
    total = 0
    for pid in [running.process.pid, *descendants(running.process.pid)]:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def ask(running: Service, request: bytes, times: int) -> None:
    """Send a request again and again, each after the answer to the last."""
    host, _, port = running.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        for _ in range(times):
            connection.sendall(request)
            read_answer(connection)


def read_answer(connection: socket.socket) -> None:
    """Read one whole answer; anything but a 200 ends the measurement."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(1 << 16)
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(data.decode(errors="replace"))
    left = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]) - len(body)
    while left > 0:
        left -= len(connection.recv(left))


def measure(running: Service, turns: int, times: int) -> dict[str, float]:
    """Seconds of CPU of a request in each form: the least of `turns` turns."""
    least: dict[str, float] = {}
    for _ in range(turns):
        for name, request in forms().items():
            before = cpu(running)
            ask(running, request, times)
            spent = (cpu(running) - before) / times
            least[name] = min(spent, least.get(name, spent))
    return least


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--times", type=int, default=1000)
    args = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = models.train(folder / "b", flavor="lightgbm", seed=1, signature=SIGNATURE)
        publisher = Publisher(folder)
        publisher.publish("wide", bundle.folder)
        with service(publisher, folder / "run", "wide", serving_workers=1) as running:
            least = measure(running, args.turns, args.times)
    print(
        f"{ROWS} rows of {COLUMNS} columns\n\n| form | bytes | µs of CPU a request |\n|---|---|---|"
    )
    for form, request in forms().items():
        print(f"| {form} | {len(request):,} | {least[form] * 1e6:.0f} |")


if __name__ == "__main__":
    main()
