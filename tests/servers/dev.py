"""`make dev`: Nomad, Consul, Vault and an S3 server on the loopback, wired, until Ctrl-C.

State lies in var/dev and is found again by the next start. The agents listen at their usual ports
where those are free, and what to export is in var/dev/env in any case.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shlex
import signal
import subprocess
import sys
import threading
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.servers import programs
from tests.servers.cluster import PROGRAMS, Cluster, cluster, usual_ports
from tests.servers.process import ServerFailedError

MISSING, FAILED, BUSY = 69, 70, 75


class StoppedError(Exception):
    """SIGTERM or SIGINT came."""


def main(words: Sequence[str] | None = None) -> int:
    """Run the cluster; 0 after Ctrl-C, 69 without programs, 75 where another runs in the folder."""
    args = _parser().parse_args(words)
    found = {name: path for name in PROGRAMS if (path := programs.find(name))}
    missing = [name for name in PROGRAMS if name not in found]
    if missing:
        return _say(MISSING, f"{', '.join(missing)} are neither on PATH nor built; `make servers`")
    folder = args.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    stop = _stop_signals()
    try:
        with only_one(folder / "lock"):
            return _run(found, folder, args.usecases, args.register, stop)
    except BlockingIOError:
        return _say(BUSY, f"another `make dev` runs in {folder}")
    except ServerFailedError as error:
        return _say(FAILED, f"a server did not start: {error}\nLogs are below {folder}.")
    except StoppedError:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make dev", description=__doc__)
    parser.add_argument("usecases", nargs="*", help="run the pipeline of these on a schedule too")
    parser.add_argument("--folder", type=Path, default=Path("var/dev"), help="(default: var/dev)")
    parser.add_argument(
        "--no-register", dest="register", action="store_false", help="leave Nomad without jobs"
    )
    return parser


def _run(
    found: Mapping[str, Path],
    folder: Path,
    usecases: Sequence[str],
    register: bool,
    stop: threading.Event,
) -> int:
    print("dev: starting Consul, Vault, Nomad and an S3 server", flush=True)
    with cluster(found, folder, persistent=True, ports=usual_ports()) as here:
        file = _write_environment(folder / "env", here)
        if register and _register(here, usecases):
            print("dev: the jobs are not registered; the servers run all the same", flush=True)
        _tell(here, file)
        _ended(here, stop)
        print("dev: stopping; state stays in", folder, flush=True)
    return 0


def _register(here: Cluster, usecases: Sequence[str]) -> int:
    """Have `penstock register` register the work of this checkout, with secrets from Vault."""
    command = [sys.executable, "-m", "penstock", "register", "--dev", "--var", "vault=true"]
    return subprocess.run(
        [*command, *usecases], env=os.environ | dict(here.environment), check=False
    ).returncode


def _write_environment(file: Path, here: Cluster) -> Path:
    """The variables as a file to source; for this user's eyes, since it holds Vault's root token."""
    file.unlink(missing_ok=True)
    file.touch(0o600)
    lines = (f"export {name}={shlex.quote(value)}\n" for name, value in here.environment.items())
    file.write_text("".join(lines))
    return file


def _tell(here: Cluster, file: Path) -> None:
    print(f"\nNomad  {here.nomad.address}/ui\nConsul {here.consul.address}/ui")
    print(f"Vault  {here.vault.address}/ui\nS3     {here.s3.endpoint}   {here.store}\n")
    for name, value in here.environment.items():
        shown = f"(in {file})" if name.endswith("_TOKEN") else shlex.quote(value)
        print(f"  {name}={shown}")
    print(f"\nIn another terminal:  source {shlex.quote(os.path.relpath(file))}")
    print("Ctrl-C stops everything.", flush=True)


def _ended(here: Cluster, stop: threading.Event) -> None:
    """Wait for a signal, or for a server that ends by itself.

    Raises:
        ServerFailedError: one did.
    """
    agents = [*here.nomad.agents, here.consul.agent, here.vault.agent]
    while not stop.wait(1):
        for agent in agents:
            if not agent.running:
                raise ServerFailedError(f"{agent.command[0]} ended; its log: {agent.log}")


def _stop_signals() -> threading.Event:
    """An event that SIGINT and SIGTERM set; the second time they interrupt at once."""
    stop = threading.Event()

    def handle(_number: int, _frame: types.FrameType | None) -> None:
        if stop.is_set():
            raise StoppedError
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
    return stop


@contextlib.contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Hold `lock` during the block. Raises BlockingIOError where somebody else does."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _say(status: int, text: str) -> int:
    print(f"dev: {text}", file=sys.stderr)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
