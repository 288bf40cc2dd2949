from __future__ import annotations

from typing import Any

import pytest

from pipelines.registration.guard import check_program, refuse_secrets
from registry.errors import Refused, UsageError


def a_job(**env: str) -> dict[str, Any]:
    task = {"Driver": "docker", "Config": {"image": "a", "args": ["x"]}, "Env": env}
    return {"ID": "penstock-x", "TaskGroups": [{"Name": "job", "Tasks": [task]}]}


def test_a_job_without_secrets():
    refuse_secrets(a_job(AWS_REGION="eu", PENSTOCK_STORE_SECRET="file:/secrets/store.json"), {})
    refuse_secrets(a_job(PENSTOCK_SECRETS_REFRESH="60", SOME_TOKEN_FILE="/secrets/x"), {})
    refuse_secrets(a_job(X="short"), {"NOMAD_TOKEN": "short"})


@pytest.mark.parametrize(
    "name",
    ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "VAULT_TOKEN", "DB_PASSWORD", "my_api_key"],
)
def test_a_variable_whose_name_is_that_of_a_secret(name):
    with pytest.raises(Refused, match=f"may not hold env {name}") as error:
        refuse_secrets(a_job(**{name: "harmless-value"}), {})
    assert "harmless-value" not in str(error.value)


def test_a_secret_that_is_known_is_found_wherever_it_is():
    job = a_job()
    job["TaskGroups"][0]["Tasks"][0]["Config"]["args"] = ["--key", "prefix-s3cr3t-value-suffix"]
    with pytest.raises(Refused, match=r"TaskGroups\.Tasks\.Config\.args") as error:
        refuse_secrets(job, {"AWS_SECRET_ACCESS_KEY": "s3cr3t-value"})
    assert "s3cr3t" not in str(error.value)


def test_a_password_in_a_url():
    with pytest.raises(Refused, match=r"Env\.STORE"):
        refuse_secrets(a_job(STORE="https://me:word@example.com/x"), {})
    refuse_secrets(a_job(STORE="https://example.com:9000/a@b"), {})


def test_it_must_be_said_what_to_run():
    check_program(a_job())
    job = a_job()
    job["TaskGroups"][0]["Tasks"][0]["Config"]["image"] = ""
    with pytest.raises(UsageError, match="penstock-x says not what to run") as error:
        check_program(job)
    assert "--image" in error.value.todo
    job["TaskGroups"][0]["Tasks"][0] |= {"Driver": "raw_exec", "Config": {"image": "a"}}
    with pytest.raises(UsageError, match="command is empty"):
        check_program(job)
