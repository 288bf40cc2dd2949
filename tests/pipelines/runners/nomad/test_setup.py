"""What is said of a child that was placed and whose task does not begin."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.runners.nomad.runner import NomadRunner
from pipelines.runners.states import Running, Starting
from registry.secrets.vault.seal import trouble_with_vault
from tests.contracts.rigs import REFERENCE, eventually, new_attempt
from tests.pipelines.runners.nomad.recorded import RecordedNomad, allocation, event
from tests.registry.secrets.fake import fake_vault

SETUP = event("Task Setup", "Building Task Directory")
PULL = event("Driver", "Downloading image")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.runners.nomad.setup.SLOW", 0.0)
    monkeypatch.setattr("pipelines.runners.nomad.setup.AGAIN", 0.05)
    monkeypatch.setattr("pipelines.runners.nomad.parent.QUEUED", 0.05)
    monkeypatch.delenv("VAULT_ADDR", raising=False)


def placed(nomad: RecordedNomad, runner: NomadRunner, *events: dict[str, Any], **task: Any):
    """An attempt whose child was placed, and whose node told these events."""
    starting = {"counts": {"Starting": 1}, "allocations": [allocation("pending", *events)]}
    nomad.fresh = {**starting, "task": {"Name": "job", **task}}
    attempt = new_attempt("nomad", "")
    runner.start(attempt, REFERENCE)
    return attempt


def says(runner: NomadRunner, attempt: Any, words: str) -> None:
    def said() -> bool:
        state = runner.state(attempt)
        return isinstance(state, Starting) and words in state.reason

    eventually(said, f"it says {words!r}")


def test_the_last_word_of_the_node_is_told_until_the_task_runs(nomad, runner):
    attempt = placed(nomad, runner, SETUP, PULL, Vault={"Role": "penstock-job"})
    says(runner, attempt, "node node-1 sets its task up: Driver: Downloading image")
    nomad.change(lambda: nomad.child().counts.update({"Starting": 0, "Running": 1}))
    eventually(lambda: runner.state(attempt) == Running(), "it runs, and there is nothing to say")


def test_a_node_that_has_told_nothing(nomad, runner):
    says(runner, placed(nomad, runner), "node node-1 has not begun to set its task up")


def test_a_task_without_secrets_does_not_wait_for_vault(nomad, runner):
    attempt = placed(nomad, runner, SETUP, Vault=None)
    says(runner, attempt, "sets its task up: Task Setup: Building Task Directory")


def test_a_task_whose_node_went_to_vault(nomad, runner):
    attempt = placed(nomad, runner, SETUP, Vault={"Role": "penstock-job"})
    says(
        runner, attempt, "waits for the secrets of its task from Vault: see whether Vault is sealed"
    )


def test_a_vault_that_is_known_to_be_sealed_is_named(nomad, runner, monkeypatch):
    with fake_vault(sealed=True) as vault:
        monkeypatch.setenv("VAULT_ADDR", vault.address)
        attempt = placed(nomad, runner, SETUP, Vault={"Role": "penstock-job"})
        says(runner, attempt, f"from Vault: Vault at {vault.address} is sealed")


def test_the_right_to_read_jobs_may_be_missing(nomad, runner):
    nomad.faults += [("GET /v1/job/.*/allocations", 403, "Permission denied")]
    says(runner, placed(nomad, runner, PULL), "Downloading image")  # at the second look


def test_a_start_that_takes_a_moment_costs_no_look(nomad, runner, monkeypatch):
    monkeypatch.setattr("pipelines.runners.nomad.setup.SLOW", 600.0)
    attempt = placed(nomad, runner, SETUP)
    asked = nomad.count("GET /v1/jobs")
    eventually(lambda: nomad.count("GET /v1/jobs") > asked + 3, "a few accounts of the children")
    assert runner.state(attempt) == Starting()
    assert nomad.count("GET /v1/job/.*/allocations") == 0


def test_what_is_wrong_with_vault():
    with fake_vault() as vault:
        env = {"VAULT_ADDR": vault.address}
        assert trouble_with_vault({}) == trouble_with_vault(env) == ""
        vault.sealed = True
        assert trouble_with_vault(env) == f"Vault at {vault.address} is sealed"
        vault.trouble = (500, ["internal error"])
        assert (
            trouble_with_vault(env) == f"Vault at {vault.address} does not answer: internal error"
        )
    assert trouble_with_vault(env) == f"Vault at {vault.address} does not answer: no connection"
