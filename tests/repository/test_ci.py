"""What GitLab is told to do can be done: the schema holds, and every command of a script exists."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.repository import tree

CI = tree.ROOT / ".gitlab-ci.yml"
#: Words of a file of GitLab that are not jobs.
GLOBAL = {"stages", "workflow", "default", "variables", "include"}
#: Programs of the images, not of this project.
FOREIGN = {"apt-get", "apk", "docker", "echo"}


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads `!reference` as the list of its words."""


_Loader.add_constructor("!reference", lambda loader, node: loader.construct_sequence(node))


def pipeline() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(CI.read_text(), _Loader)
    return loaded


def jobs() -> dict[str, dict[str, Any]]:
    return {name: job for name, job in pipeline().items() if name not in GLOBAL}


def lines() -> list[tuple[str, str]]:
    """Every command of every script, with the job that it is of."""
    found = [
        (name, line)
        for name, job in {**jobs(), "default": pipeline()["default"]}.items()
        for key in ("before_script", "script", "after_script")
        for line in job.get(key) or ()
        if isinstance(line, str)
    ]
    assert len(found) > 10
    return found


def test_the_schema_of_gitlab_holds():
    program = Path(sys.executable).with_name("check-jsonschema")
    words = ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", str(CI)]
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_stages_needs_and_templates_are_there():
    known = jobs()
    for name, job in known.items():
        if not name.startswith("."):
            assert (
                job.get("stage", known.get(job.get("extends", ""), {}).get("stage"))
                in (pipeline()["stages"])
            ), name
        assert job.get("extends", ".staging") in known, name
        assert set(job.get("needs", ())) <= set(known), name


def test_what_changes_production_waits_for_a_person():
    production = {name: job for name, job in jobs().items() if job.get("extends") == ".production"}
    assert {"canary", "promote", "take back"} <= set(production)
    for name, job in production.items():
        assert all(rule["when"] == "manual" for rule in job["rules"]), name


def test_what_talks_to_a_cluster_runs_only_where_there_is_one():
    for name, job in jobs().items():
        if job.get("extends"):
            assert all("$NOMAD_ADDR" in r["if"] or "$STAGING_URL" in r["if"] for r in job["rules"])
        else:
            assert not any("penstock" in line for line in job.get("script", ())), name


@pytest.mark.parametrize(("job", "line"), lines())
def test_each_command_exists(job, line):
    for command in re.split(r" \| | && ", line):
        words = shlex.split(command)
        program, rest = words[0], words[1:]
        if program == "make":
            assert_target(rest)
        elif program == ".venv/bin/penstock":
            parse(rest)
        elif "/" in program:
            assert (tree.ROOT / program).stat().st_mode & 0o111, f"{job}: {program}"
        else:
            assert program in FOREIGN, f"{job}: {program}"


def assert_target(words: list[str]) -> None:
    """The target is one of the Makefile, and make knows what to do for it."""
    target, *variables = words
    assert target in tree.make_targets()
    makefile = (tree.ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{v.partition('=')[0]} \?=", makefile, re.MULTILINE) for v in variables)
    command = ["make", "--no-print-directory", "-n", *words]
    subprocess.run(command, cwd=tree.ROOT, check=True, capture_output=True)


def parse(words: list[str]) -> argparse.Namespace:
    """The words as the command itself would take them, with GitLab's variables filled in."""
    variables = {**pipeline()["variables"], "IMAGE": "r.example.com/p:1", "STAGING_URL": "http://x"}
    filled = [re.sub(r"\$(\w+)", lambda m: str(variables[m[1]]), word) for word in words]
    name, *rest = filled
    value = tree.pyproject()["project"]["entry-points"]["penstock.commands"][name]
    module: Any = EntryPoint(name, value, "penstock.commands").load()
    from penstock.commandline import Parser

    subparsers = Parser(prog="penstock").add_subparsers()
    parsed: argparse.Namespace = module.add_parser(subparsers).parse_args(rest)
    return parsed


def test_a_command_that_is_not_there_is_seen():
    with pytest.raises(KeyError):
        parse(["deploi", "x"])
    with pytest.raises(AssertionError):
        assert_target(["deploi"])


def settings_named() -> Iterator[str]:
    for job in pipeline().values():
        if isinstance(job, dict):
            yield from (name for name in job.get("variables", {}) if name.startswith("PENSTOCK_"))


def test_settings_that_are_set_exist():
    from registry.settings import TABLE

    assert set(settings_named()) <= {row.variable for row in TABLE}


def test_variables_a_team_must_set_are_documented():
    page = (tree.ROOT / "docs/how-to/nomad.md").read_text()
    used = set(re.findall(r"\$(\w+)", CI.read_text()))
    own = used - set(pipeline()["variables"]) - {name for name in used if name.startswith("CI_")}
    assert own == {"NOMAD_ADDR", "STAGING_URL"}
    for name in (*own, *("USECASE", "STAGING_DATE")):
        assert f"`{name}`" in page, name


def test_hooks_and_ci_check_the_same():
    hooks = yaml.safe_load((tree.ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    entries = {hook["entry"] for hook in hooks}
    recipe = re.search(
        r"^check:.*\n((?:\t.*\n)+)", (tree.ROOT / "Makefile").read_text(), re.MULTILINE
    )
    assert recipe
    checks = [line.strip(" @").replace("$(BIN)", ".venv/bin") for line in recipe[1].split("\n\t")]
    for check in filter(None, (check.strip("\t@\n ") for check in checks)):
        # A hook gets the files that changed; CI looks at all of them.
        command = check.removesuffix(" .")
        assert any(entry.startswith(command) for entry in entries), check


# the image ------------------------------------------------------------------------------------


def dockerfile() -> str:
    return (tree.ROOT / "Dockerfile").read_text()


def test_what_the_image_copies_is_there_and_not_ignored():
    ignored = (tree.ROOT / ".dockerignore").read_text().splitlines()
    allowed = [line.removeprefix("!").rstrip("/") for line in ignored if line.startswith("!")]
    assert ignored[1] == "*" or "*" in ignored
    assert all((tree.ROOT / path).exists() for path in allowed)
    for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile(), re.MULTILINE):
        *sources, _ = line.split()
        for source in sources:
            assert source == "." or source in allowed, source


def test_the_image_holds_every_package_and_nothing_of_the_tests():
    ignored = (tree.ROOT / ".dockerignore").read_text()
    for package in tree.PACKAGES:
        assert f"\n!{package}/\n" in ignored
    for folder in ("tests", "nomad", "docs", "var"):
        assert f"!{folder}/" not in ignored


def test_the_image_has_what_job_specifications_start():
    text = dockerfile()
    for name in ("job", "pipeline", "serving"):
        spec = (tree.ROOT / f"nomad/{name}.nomad.hcl").read_text()
        assert 'entrypoint = ["tini", "--", "python"]' in spec
    assert re.search(r"install .* tini\b", text)
    assert 'ENTRYPOINT ["tini", "--", "penstock"]' in text
    assert "USER 10001" in text, "never root"


def test_the_image_knows_its_commit():
    assert "ARG COMMIT" in dockerfile()
    assert "PENSTOCK_COMMIT=$COMMIT" in dockerfile()
    command = ["make", "--no-print-directory", "-n", "image", "COMMIT=abc", "IMAGE=a/b:1"]
    done = subprocess.run(command, cwd=tree.ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == 'docker build --build-arg COMMIT="abc" --tag "a/b:1" .\n'
