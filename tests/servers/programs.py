"""Finds the programs of the test servers, or builds them from source outside the checkout.

Order: a program on PATH, a build kept in the user's cache folder, a new build by Go. A build is
keyed by the digest of the module's two files, so that a changed version is never taken for the old.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
#: What the newest of the modules asks for (the line `go` of its go.mod).
GO = "1.26"


class MissingServerError(Exception):
    """A server is neither installed nor built, and cannot be built here; says what to install."""


@dataclass(frozen=True)
class Program:
    """A server built from the Go module `tests/servers/<name>`."""

    name: str
    package: str
    tags: str = ""

    @property
    def module(self) -> Path:
        """The folder of go.mod and go.sum."""
        return FOLDER / self.name

    @property
    def version(self) -> str:
        """The version that go.mod asks for, such as `v1.8.0`."""
        for line in (self.module / "go.mod").read_text().splitlines():
            words = line.removeprefix("require").split()
            if len(words) >= 2 and (self.package + "/").startswith(words[0] + "/"):
                return words[1]
        raise MissingServerError(f"{self.module / 'go.mod'} does not require {self.package}")

    @property
    def cached(self) -> Path:
        """Where a build of exactly these sources lies, or would lie."""
        digest = hashlib.sha256(self.tags.encode())
        for file in ("go.mod", "go.sum"):
            digest.update((self.module / file).read_bytes())
        return cache_folder() / f"{self.name}-{self.version}-{digest.hexdigest()[:12]}" / self.name


#: In the order in which they are built: what most tests wait for comes first.
PROGRAMS = {
    program.name: program
    for program in (
        Program("versitygw", "github.com/versity/versitygw/cmd/versitygw"),
        Program("nomad", "github.com/hashicorp/nomad", "ui codegen_generated hashicorpmetrics"),
        Program("consul", "github.com/hashicorp/consul"),
        Program("vault", "github.com/hashicorp/vault"),
    )
}


def cache_folder() -> Path:
    """The folder of builds: `penstock/servers` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "penstock" / "servers"


def find(name: str) -> Path | None:
    """The program `name` on PATH or in the cache; None where it would have to be built."""
    program = PROGRAMS[name]
    on_path = shutil.which(name)
    if on_path:
        return Path(on_path)
    return program.cached if os.access(program.cached, os.X_OK) else None


def build(name: str) -> Path:
    """Build the program `name` with Go into the cache and return its path.

    One build at a time: each wants every core and some gigabytes. Who waited for somebody else's
    build of the same program takes that.

    Raises:
        MissingServerError: Go is missing, or the build failed; carries the end of Go's output.
    """
    program = PROGRAMS[name]
    if shutil.which("go") is None:
        raise MissingServerError(
            f"{name} {program.version} is not on PATH, and Go, which would build it, is missing. "
            f"Install {name} itself, or Go {GO} or newer, and run `make servers` again."
        )
    program.cached.parent.mkdir(parents=True, exist_ok=True)
    with (cache_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.access(program.cached, os.X_OK):
            _build(program)
    return program.cached


def _build(program: Program) -> None:
    # Built beside its place and moved there, so that a build cut short is never found.
    with tempfile.TemporaryDirectory(dir=program.cached.parent) as folder:
        output = Path(folder) / program.name
        flags = ["-trimpath", "-mod=readonly", "-ldflags=-s -w", f"-tags={program.tags}"]
        done = subprocess.run(
            ["go", "build", *flags, "-o", str(output), program.package],
            cwd=program.module,
            env=os.environ | {"CGO_ENABLED": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            tail = "\n".join(done.stderr.splitlines()[-15:])
            raise MissingServerError(
                f"Go could not build {program.name} {program.version}:\n{tail}"
            )
        output.replace(program.cached)
