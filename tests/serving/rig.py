"""A whole service under test: a real store, real heads in files, real processes."""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from registry.aliases import Head, open_heads
from registry.artifacts.attempt import JobSpec, RecipeRecord, open_attempt
from registry.artifacts.commit import Output, commit
from registry.artifacts.key import Recipe
from registry.artifacts.manifest import Producer, Reference
from registry.artifacts.store import open_environment
from registry.settings import Settings

#: Seconds after which something that should happen at once is taken for not happening.
PATIENCE = 60.0
ALIAS = "champion"


def eventually(what: str, check: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Wait until `check()` is true and return its value; what it raises counts as false."""
    deadline = time.monotonic() + patience
    trouble: object = None
    while time.monotonic() < deadline:
        try:
            value = check()
        except (OSError, httpx.HTTPError, AssertionError) as error:
            trouble = error
        else:
            if value:
                return value
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen: {trouble!r}")


class Publisher:
    """Commits bundles to a store and points an alias at them."""

    def __init__(self, folder: Path, store: str = "") -> None:
        self.environment = {
            "PENSTOCK_STORE": store or str(folder / "store"),
            "PENSTOCK_VAR": str(folder / "var"),
            "PENSTOCK_ENVIRONMENT": "dev/test",
        }
        settings = Settings.load(self.environment)
        self.store = open_environment(settings)
        self.heads = open_heads(settings)
        self._revisions: dict[str, int] = {}

    def commit(self, model: str, bundle: Path) -> Reference:
        """Commit the files in `bundle` as an artifact."""
        recipe = Recipe("model", model, 1, {"bundle": bundle.name})
        spec = JobSpec("train", RecipeRecord.of(recipe), {})
        attempt = open_attempt(
            self.store, spec, 1, size="s", runner="test", host="test", run="r", timeout=600
        )
        producer = Producer("r", 1, f"w-{bundle.name}", "test", "c", False, "l", "3")
        return commit(self.store, attempt, Output(bundle), producer).reference

    def point(self, model: str, live: Reference, alias: str = ALIAS) -> Head:
        """Make `live` what the alias points at, as a new revision."""
        revision = self._revisions.get(model, 0) + 1
        self._revisions[model] = revision
        return self.heads.advance(Head(model, alias, revision, live, f"w{revision}", "tester"))

    def publish(self, model: str, bundle: Path) -> Reference:
        """Commit and point."""
        reference = self.commit(model, bundle)
        self.point(model, reference)
        return reference

    def stored(self, reference: Reference, name: str) -> Path:
        """Where a file of a committed artifact lies, for tests that damage it."""
        from registry.artifacts.fetch import dereference

        path = self.store.local_path(dereference(self.store, reference).data + name)
        assert path is not None
        return path

    def head_path(self, model: str, alias: str = ALIAS) -> Path:
        """The file that holds the head."""
        (path,) = Path(self.environment["PENSTOCK_VAR"]).glob(f"heads/*/{model}/{alias}.json")
        return path


class Service:
    """A running service as its clients and its operator see it."""

    def __init__(self, process: subprocess.Popen[str], log: Path, authority: str = "") -> None:
        self.process = process
        self.address = ""
        #: A row for `revision`, where the model is not one of `EXAMPLES`.
        self.example: dict[str, Any] = {}
        self._log = log
        trust = ssl.create_default_context(cafile=authority) if authority else False
        self.client = httpx.Client(timeout=PATIENCE, trust_env=False, verify=trust)
        self._scheme = "https" if authority else "http"

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"{self._scheme}://{self.address}"

    @property
    def grpc_address(self) -> str:
        """Host and port of the gateway that speaks gRPC."""
        found = re.search(r"for gRPC at (\S+)", self.log)
        assert found is not None, "started without serving_grpc_port"
        return found.group(1)

    def get(self, path: str) -> httpx.Response:
        """GET on one kept connection."""
        return self.client.get(self.url + path)

    def post(self, path: str, body: Any) -> httpx.Response:
        """POST of JSON."""
        return self.client.post(self.url + path, json=body)

    @property
    def ready(self) -> bool:
        """Whether it says that it is ready."""
        return self.get("/v2/health/ready").status_code == 200

    def wait_for(self, revision: int) -> None:
        """Wait until an answer comes from this revision."""
        eventually(f"revision {revision}", lambda: self.revision() == revision)

    def wait_for_page(self, text: str) -> None:
        """Wait until the page at the root says so."""
        eventually(f"{text!r} on the page", lambda: text in self.get("/").text)

    def revision(self, model: str = "flights") -> int:
        """The revision that answers now."""
        answer = self.post("/invocations", {"dataframe_records": [self.example or EXAMPLES[model]]})
        return int(answer.headers["x-model-revision"])

    def processes(self, comm: str) -> list[int]:
        """Pids of the service's descendants whose name starts with `comm`."""
        return [pid for pid in descendants(self.process.pid) if name_of(pid).startswith(comm)]

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return self._log.read_text()


#: Tests change models at will, and count what is left of the old ones; other tests look at holding
#: and waiting.
BRISK = {"serving_quiescence": 0, "serving_max_swaps": 0, "serving_rollback_hold": 0}

#: One row for each model name that `Service.revision` is asked about.
EXAMPLES: dict[str, dict[str, Any]] = {"flights": {"distance": 0.5, "hour": 3, "carrier": "DL"}}


@contextmanager
def service(
    publisher: Publisher, folder: Path, *models: str, wait: bool = True, **settings: Any
) -> Iterator[Service]:
    """Run `python -m serving` until the block ends; then SIGTERM, and SIGKILL if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    address, log = folder / "address", folder / "log"
    address.unlink(missing_ok=True)
    given = {
        f"PENSTOCK_{name.upper()}": str(value) for name, value in {**BRISK, **settings}.items()
    }
    environment = {**os.environ, **publisher.environment, "PENSTOCK_LOG_LEVEL": "info", **given}
    command = [sys.executable, "-m", "serving", "--port", "0", "--address-file", str(address)]
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, *(models or ("flights",))],
            env=environment, stdout=out, stderr=out, text=True,
        )  # fmt: skip
    running = Service(process, log, str(settings.get("serving_tls_certificate", "")))
    try:
        running.address = eventually("the port", lambda: address.read_text().strip())
        if wait:
            eventually("readiness", lambda: running.ready)
        yield running
    except BaseException:
        sys.stderr.write(running.log[-20000:])
        raise
    finally:
        running.client.close()
        children = descendants(process.pid)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    eventually("the end of every process", lambda: not any(map(alive, children)))


def descendants(pid: int) -> list[int]:
    """Pids of the children of `pid`, and theirs."""
    try:
        direct = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except FileNotFoundError:
        return []
    return direct + [below for child in direct for below in descendants(child)]


def name_of(pid: int) -> str:
    """The name of a process, or "" if it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
