"""Which jobs there are to be, and what the settings of this call say about them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.registration.specs import PIPELINE, SERVICE, WORK, Spec, read_spec
from pipelines.registration.values import Values, expression
from pipelines.runners.sizes import SIZES
from registry.settings import Settings
from registry.usecase import FURTHER_STEPS, STEPS, load_usecase

#: Every kind of work: the modules of `jobs` that an attempt can name.
KINDS = (*STEPS, *FURTHER_STEPS)
#: Addresses that go along with a registration, where they are set. No secret is among them.
PASSED = ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ALLOW_HTTP")
#: The same, for those who read or write heads; workers do neither.
PASSED_ON = (*PASSED, "CONSUL_HTTP_ADDR")


class Wanted(NamedTuple):
    """A specification, and the values for one job of it."""

    spec: Spec
    values: Values


def shared(
    settings: Settings, *, image: str | None = None, checkout: Path | None = None
) -> dict[str, Any]:
    """What every job is told: store, environment, prefix, and what runs.

    Args:
        image: the container image.
        checkout: run the programs of this checkout instead, by this Python.
    """
    found = {
        "prefix": settings.nomad_prefix,
        "store": absolute(settings.store),
        "environment": settings.environment,
    }
    if checkout is not None:
        # Not resolved: the Python of a virtual environment is a link to one that is not.
        program = {"command": os.path.abspath(sys.executable), "workdir": str(checkout)}  # noqa: PTH100
        return {**found, "driver": "raw_exec", **program}
    return {**found, "image": image} if image else found


def absolute(store: str) -> str:
    """The URL of a store, or its path from the root: tasks run in other folders."""
    return store if "://" in store else str(Path(store).absolute())


def passed(names: Iterable[str], env: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """The variables that go along: those of `names` that are set, and `more`."""
    return {name: env[name] for name in names if env.get(name)} | dict(more)


def expressions(found: Mapping[str, Any]) -> dict[str, str]:
    """JSON values as what `values` works with."""
    return {name: expression(value) for name, value in found.items()}


def work(
    folder: Path, common: Mapping[str, Any], env: Mapping[str, str], more: Mapping[str, str]
) -> list[Wanted]:
    """A parameterized job for each kind and size."""
    spec = read_spec(folder, WORK)
    base = {**common, "env": passed(PASSED, env, more)}
    return [
        Wanted(spec, expressions({**base, "kind": kind, "size": size}))
        for kind in KINDS
        for size in SIZES
    ]


def pipelines(
    folder: Path, usecases: Sequence[str], common: Mapping[str, Any],
    env: Mapping[str, str], more: Mapping[str, str],
) -> list[Wanted]:  # fmt: skip
    """A periodic job for each use case. Raises UsageError for an unknown one."""
    spec = read_spec(folder, PIPELINE)
    base = {**common, "env": passed(PASSED_ON, env, more), "nomad_addr": env["NOMAD_ADDR"]}
    return [
        Wanted(spec, expressions({**base, "usecase": load_usecase(usecase).name}))
        for usecase in usecases
    ]


def service(
    folder: Path, name: str, models: Sequence[str], common: Mapping[str, Any],
    env: Mapping[str, str], more: Mapping[str, str],
) -> Wanted:  # fmt: skip
    """The job of a service for `models`."""
    base = {**common, "env": passed(PASSED_ON, env, more), "service": name, "models": list(models)}
    return Wanted(read_spec(folder, SERVICE), expressions(base))
