"""Specifications as the tests look at them: their files, and filled in by a real Nomad."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.registration.specs import Spec, read_spec
from pipelines.registration.values import expression, filled_in
from tests.repository import tree
from tests.servers.nomad import NomadServer

FOLDER = tree.ROOT / "nomad"
SPECS = sorted(FOLDER.glob("*.nomad.hcl"))
#: What each specification has to be told.
NEEDED: Mapping[str, Mapping[str, Any]] = {
    "job": {"kind": "train", "size": "s"},
    "pipeline": {"usecase": "flights", "nomad_addr": "http://127.0.0.1:4646"},
    "serving": {"models": ["flights@champion", "churn"]},
}
COMMON = {"store": "s3://models/team", "environment": "staging"}
DRIVERS = {
    "docker": {"driver": "docker", "image": "registry.example.com/penstock:1.0.0"},
    "raw_exec": {"driver": "raw_exec", "command": "/opt/python", "workdir": "/opt/penstock"},
}
#: Nobody listens there: the program checks by itself what an agent would otherwise.
NOWHERE = "http://127.0.0.1:9"


def spec_named(name: str) -> Spec:
    """A specification of the checkout."""
    return read_spec(FOLDER, name)


def values_of(name: str, driver: str = "docker", **more: Any) -> dict[str, str]:
    """Values with which the specification `name` is complete."""
    found = {**COMMON, **NEEDED[name], **DRIVERS[driver], **more}
    return {each: expression(value) for each, value in found.items()}


def parsed(server: NomadServer, name: str, driver: str = "docker", **more: Any) -> dict[str, Any]:
    """The job that a real agent makes of it."""
    spec = spec_named(name)
    body = {"JobHCL": spec.text, "Variables": filled_in(spec, values_of(name, driver, **more))}
    return dict(server.api.put("/v1/jobs/parse", body))


def faults(server: NomadServer, job: Mapping[str, Any]) -> str:
    """What a real agent says against a job; empty if nothing."""
    return str(server.api.put("/v1/validate/job", {"Job": job}).get("Error") or "")


def validate(program: Path, name: str, driver: str = "docker", **more: Any) -> str:
    """What `nomad job validate` says against it without an agent; empty if nothing."""
    words = [f"-var={each}={_plain(value)}" for each, value in _given(name, driver, more).items()]
    done = subprocess.run(
        [program, "job", "validate", *words, FOLDER / f"{name}.nomad.hcl"],
        env={"PATH": os.environ["PATH"], "NOMAD_ADDR": NOWHERE},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _given(name: str, driver: str, more: Mapping[str, Any]) -> dict[str, Any]:
    return {**COMMON, **NEEDED[name], **DRIVERS[driver], **more}


def _plain(value: Any) -> str:
    """As `-var` takes it: text of a string variable stands for itself."""
    return value if isinstance(value, str) else expression(value)


def task_of(job: Mapping[str, Any]) -> dict[str, Any]:
    """The one task of a job's one group."""
    (group,) = job["TaskGroups"]
    (task,) = group["Tasks"]
    return dict(task)
