"""An S3 server whose users change, and which dies when told to."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.servers import process
from tests.servers.fixtures import require
from tests.servers.process import free_port
from tests.servers.s3 import BUCKET, S3Server


@dataclass
class Gateway:
    """A versitygw that tests stop, kill and start again with other credentials, on one port."""

    program: Path
    server: S3Server
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def below(cls, folder: Path) -> Gateway:
        """One that keeps everything in `folder`, and is not started yet."""
        folder.mkdir(parents=True)
        return cls(require("versitygw"), S3Server(free_port(), folder, folder / "log"))

    @contextlib.contextmanager
    def running(self, user: tuple[str, str]) -> Iterator[None]:
        """Run it for the user with this key and secret."""
        folders = [self.server.folder / "metadata", self.server.folder / "buckets"]
        for folder in (folders[0], folders[1] / BUCKET):
            folder.mkdir(parents=True, exist_ok=True)
        port = self.server.port
        command: list[str | Path] = [
            self.program,
            "--port",
            f"127.0.0.1:{port}",
            "--region",
            "us-east-1",
            "posix",
        ]
        with process.running(
            [*command, "--sidecar", *folders],
            log=self.server.log,
            ready=lambda: process.accepts(port),
            env={"ROOT_ACCESS_KEY": user[0], "ROOT_SECRET_KEY": user[1]},
        ) as self.process:
            yield

    def kill(self) -> None:
        """End it without warning (SIGKILL)."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
