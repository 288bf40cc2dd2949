"""An S3 server of a test: versitygw over a folder, on a free loopback port."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.servers import process

BUCKET = "penstock"
#: Not secrets: they name the only user of a server that lives as long as a test run.
ACCESS_KEY, SECRET_KEY = "penstock-test", "penstock-test-key"


@dataclass(frozen=True)
class S3Server:
    """A running server; `environment` is what an S3 client needs to reach it."""

    port: int
    folder: Path
    log: Path

    @property
    def endpoint(self) -> str:
        """The address of the server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that S3 clients read: address, user, region, plain HTTP allowed."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def url(self, prefix: str) -> str:
        """The store URL of `prefix` in the one bucket that there is."""
        return f"s3://{BUCKET}/{prefix}"


@contextlib.contextmanager
def s3_server(
    program: Path, folder: Path, tries: int = 3, port: int | None = None
) -> Iterator[S3Server]:
    """Run versitygw over `folder` while the block lasts; on `port`, or on a free one.

    Raises:
        ServerFailedError: it did not start, on `tries` different ports.
    """
    (folder / "buckets" / BUCKET).mkdir(parents=True, exist_ok=True)
    # Metadata beside the objects instead of in extended attributes, which not every tmpfs has.
    (folder / "metadata").mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        server = _start(stack, program, folder, tries, port)
        yield server


def _start(
    stack: contextlib.ExitStack, program: Path, folder: Path, tries: int, port: int | None
) -> S3Server:
    for attempt in range(1, tries + 1):
        server = S3Server(port or process.free_port(), folder, folder / f"versitygw-{attempt}.log")
        try:
            stack.enter_context(_running(program, server))
        except process.ServerFailedError:
            if attempt == tries:
                raise
        else:
            return server
    raise AssertionError("unreachable")


def _running(program: Path, server: S3Server) -> contextlib.AbstractContextManager[object]:
    flags = ["--port", f"127.0.0.1:{server.port}", "--region", "us-east-1", "--keep-alive"]
    folders = [server.folder / "metadata", server.folder / "buckets"]
    return process.running(
        [program, *flags, "posix", "--sidecar", *folders],
        log=server.log,
        ready=lambda: process.accepts(server.port),
        env={"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY},
        port=server.port,
    )
