"""The files themselves: their form, and every variable with its meaning and type."""

from __future__ import annotations

import re
import subprocess

import pytest

from jobs import __main__ as entry
from pipelines.registration import specs, wanted
from pipelines.runners.nomad import contract
from pipelines.runners.protocol import JOB_DEFAULTS
from pipelines.runners.sizes import SIZES
from tests.jobspecs import rig
from tests.repository import tree
from tests.servers import fixtures

POLICIES = sorted((rig.FOLDER / "policies").rglob("*.hcl"))


def test_they_are_formatted():
    program = fixtures.require("nomad")
    done = subprocess.run(
        [program, "fmt", "-check", "-recursive", rig.FOLDER],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_folder_holds_no_code():
    found = {path.suffix for path in tree.files() if path.is_relative_to(rig.FOLDER)}
    assert found <= {".hcl", ".json"}  # roles of Vault have no HCL form


@pytest.mark.parametrize("path", rig.SPECS, ids=tree.name_of)
def test_every_variable_has_a_meaning_and_a_type(path):
    spec = rig.spec_named(path.name.partition(".")[0])
    assert len(spec.variables) == spec.text.count('variable "')
    for variable in spec.variables.values():
        assert len(variable.description.split()) >= 2, variable.name
        assert variable.description.endswith("."), variable.name
        assert variable.type, variable.name


@pytest.mark.parametrize("path", rig.SPECS, ids=tree.name_of)
def test_every_variable_is_used(path):
    text = path.read_text()
    declared = set(re.findall(r'^variable "(\w+)"', text, re.MULTILINE))
    assert declared == set(re.findall(r"\bvar\.(\w+)", text))


@pytest.mark.parametrize("path", rig.SPECS + POLICIES, ids=tree.name_of)
def test_each_file_says_what_it_is(path):
    assert path.read_text().startswith("# ")


def test_a_variable_means_the_same_everywhere():
    seen: dict[str, specs.Variable] = {}
    # What differs on purpose: the work of a job, the pipeline and a service are not alike.
    own = {"priority", "vault_role", "vault_store", "consul", "cpu", "memory_mb", "disk_mb"}
    for path in rig.SPECS:
        for name, variable in rig.spec_named(path.name.partition(".")[0]).variables.items():
            if name not in own and name != "prefix":
                assert seen.setdefault(name, variable).type == variable.type


def test_each_kind_of_work_is_registered():
    text = {path.stem: path.read_text() for path in (tree.ROOT / "jobs").glob("*.py")}
    kinds = {
        name for name, source in text.items() if re.search(r"^def run\(", source, re.MULTILINE)
    }
    assert set(wanted.KINDS) == kinds
    assert all(entry._KIND.fullmatch(kind) for kind in kinds)


def test_sizes_are_those_of_the_code():
    text = rig.spec_named("job").text
    rows = re.findall(
        r"^ +(\w+) += \{ cpus = (\d+), memory = (\d+), gpus = (\d+) \}", text, re.MULTILINE
    )
    found = [(name, *map(int, numbers)) for name, *numbers in rows]
    assert found == [(s.name, s.cpus, s.memory_mb, s.gpus) for s in SIZES.values()]
    assert [name for name, *_, gpus in found if gpus] == ["gpu"]


def test_payload_and_meta_are_those_of_the_code():
    text = rig.spec_named("job").text
    for name, keys in (
        ("meta_required", contract.META_REQUIRED),
        ("meta_optional", contract.META_OPTIONAL),
    ):
        (listed,) = re.findall(rf"{name} = \[(.*)\]", text)
        assert tuple(re.findall(r'"(\w+)"', listed)) == keys
    assert f'file = "{contract.PAYLOAD_FILE}"' in text
    assert f'group "{contract.GROUP}"' in text
    assert f'task "{contract.TASK}"' in text


def test_a_job_finds_what_every_runner_gives_it():
    text = rig.spec_named("job").text
    for name, value in JOB_DEFAULTS.items():
        assert re.search(rf'^ +{name} += "{value}"$', text, re.MULTILINE), name
