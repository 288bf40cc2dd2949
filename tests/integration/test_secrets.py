"""Secrets in a real Vault: rights, ways to log in, and roles bound to the jobs that may take them."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from registry.errors import ConfigError, Refused
from registry.secrets.vault.origin import connect_vault
from registry.secrets.vault.server import Vault
from registry.settings import Settings
from tests.repository.tree import ROOT
from tests.servers.api import Api
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY
from tests.servers.vault import NOMAD_LOGIN, VaultServer

POLICIES = ROOT / "nomad/policies/vault"
STORE = "secret/penstock/store"


def vault_of(server: VaultServer, env: Mapping[str, str] | None = None, **given: object) -> Vault:
    names = {f"PENSTOCK_{name.upper()}": str(value) for name, value in given.items()}
    return connect_vault(Settings.load(names), {"VAULT_ADDR": server.address, **(env or {})})


def token_file(folder: Path, token: str) -> Path:
    file = folder / "token"
    file.write_text(token)
    return file


@pytest.fixture
def server(vault_server: VaultServer) -> VaultServer:
    """Vault with the policies that are shipped, and the two secrets."""
    for file in POLICIES.glob("*.hcl"):
        vault_server.policy(file.stem, file.read_text())
    vault_server.write("penstock/store", access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY)
    vault_server.write("penstock/gateway", billing="a-token-of-the-billing-service")
    return vault_server


# rights ---------------------------------------------------------------------------------------


def test_the_policies_let_each_read_what_it_needs_and_no_more(server: VaultServer, tmp_path: Path):
    job = token_file(tmp_path, server.make_token("penstock-job", no_default_policy=True))
    vault = vault_of(server, vault_token_file=job)
    assert vault.read(STORE).fields["access_key_id"] == ACCESS_KEY
    with pytest.raises(Refused) as caught:
        vault.read("secret/penstock/gateway")
    assert "secret/penstock/gateway" in caught.value.what
    assert "is not valid, or its policies" in caught.value.why  # it may not look at itself
    token_file(tmp_path, server.make_token("penstock-job"))
    with pytest.raises(Refused) as caught:
        vault.read("secret/penstock/gateway")
    assert "default, penstock-job" in caught.value.why
    assert "secret/data/penstock/gateway" in caught.value.todo
    token_file(tmp_path, server.make_token("penstock-serving"))
    assert vault.read("secret/penstock/gateway").fields == {
        "billing": "a-token-of-the-billing-service"
    }


def test_a_path_that_is_not_there_and_a_secret_that_was_deleted(
    server: VaultServer, tmp_path: Path
):
    vault = vault_of(server, vault_token_file=token_file(tmp_path, server.token))
    for path in ("secret/penstock/none", "nothing/mounted/here"):
        with pytest.raises((ConfigError, Refused), match="nothing"):
            vault.read(path)
    server.write("penstock/gone", a="b")
    server.api.delete("/v1/secret/data/penstock/gone")
    with pytest.raises(ConfigError, match="newest version was deleted"):
        vault.read("secret/penstock/gone")


def test_the_first_version_of_kv_is_read_as_well(server: VaultServer, tmp_path: Path):
    if "old/" not in server.api.get("/v1/sys/mounts")["data"]:
        server.api.post("/v1/sys/mounts/old", {"type": "kv", "options": {"version": "1"}})
    server.api.put("/v1/old/penstock/store", {"access_key_id": "x"})
    vault = vault_of(server, vault_token_file=token_file(tmp_path, server.token))
    fetched = vault.read("old/penstock/store")
    assert (fetched.fields, fetched.lease_s) == ({"access_key_id": "x"}, None)


# logging in -----------------------------------------------------------------------------------


def test_an_approle_goes_on_when_its_token_was_revoked(server: VaultServer, tmp_path: Path):
    role_id, secret_id = server.make_approle("penstock", "penstock-job", token_ttl="60s")
    (tmp_path / "id").write_text(secret_id)
    vault = vault_of(server, vault_role_id=role_id, vault_secret_id_file=tmp_path / "id")
    vault.read(STORE)
    assert vault._grant is not None
    assert (vault._grant.lease_s, vault._grant.renewable) == (60, True)
    first = vault._grant.token
    vault._renew_at = 0  # two thirds of its life are over
    vault.read(STORE)
    assert vault._grant.token == first
    server.api.post("/v1/auth/token/revoke", {"token": first})
    vault.read(STORE)
    assert vault._grant.token != first
    assert "penstock-job" in vault.check()
    (tmp_path / "id").write_text("no secret id of this role")
    with pytest.raises(Refused, match="AppRole at auth/approle: invalid role or secret ID"):
        vault_of(server, vault_role_id=role_id, vault_secret_id_file=tmp_path / "id").read(STORE)


def test_a_wrapped_secret_id_works_once_and_tells_when_it_was_spent(
    server: VaultServer, tmp_path: Path
):
    role_id, _ = server.make_approle("penstock", "penstock-job", token_ttl="60s")
    wrapping = Api(server.address, {"X-Vault-Token": server.token, "X-Vault-Wrap-TTL": "60s"})
    made = wrapping.post("/v1/auth/approle/role/penstock/secret-id")
    file = tmp_path / "id"
    file.write_text(made["wrap_info"]["token"])
    given: dict[str, Any] = {
        "vault_role_id": role_id, "vault_secret_id_file": file, "vault_secret_id_wrapped": 1,
    }  # fmt: skip
    vault = vault_of(server, **given)
    vault.read(STORE)
    vault._log_in()  # its token has run out: the secret id is known by now
    spent = wrapping.post("/v1/auth/approle/role/penstock/secret-id")["wrap_info"]["token"]
    Api(server.address, {"X-Vault-Token": spent}).post("/v1/sys/wrapping/unwrap")
    file.write_text(spent)
    with pytest.raises(Refused, match="wrapping token is not valid") as caught:
        vault_of(server, **given).read(STORE)
    assert spent not in str(caught.value)


def a_key(folder: Path) -> tuple[Path, str]:
    """A private key in a file, and its public half."""
    key = folder / "key.pem"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key],
        check=True, capture_output=True,
    )  # fmt: skip
    public = subprocess.run(
        ["openssl", "rsa", "-in", key, "-pubout"], check=True, capture_output=True, text=True
    )
    return key, public.stdout


def an_identity(key: Path, **claims: object) -> str:
    """A JWT as Nomad signs one for a task."""
    now = int(time.time())
    body = {"aud": "vault.io", "iat": now - 5, "nbf": now - 5, "exp": now + 600, "sub": "x"}
    parts = [{"alg": "RS256", "typ": "JWT"}, {**body, **claims}]
    text = ".".join(_base64(json.dumps(part).encode()) for part in parts)
    signed = subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", key], input=text.encode(), check=True,
        capture_output=True,
    )  # fmt: skip
    return f"{text}.{_base64(signed.stdout)}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_the_roles_are_bound_to_the_jobs_that_may_take_them(server: VaultServer, tmp_path: Path):
    key, public = a_key(tmp_path)
    server.enable_login("jwt", NOMAD_LOGIN)
    server.api.post(
        f"/v1/auth/{NOMAD_LOGIN}/config",
        {"jwt_validation_pubkeys": [public], "jwks_url": "", "default_role": "penstock-job"},
    )
    for file in POLICIES.glob("*.role.json"):
        role = file.name.removesuffix(".role.json")
        server.api.post(f"/v1/auth/{NOMAD_LOGIN}/role/{role}", json.loads(file.read_text()))

    def read(role: str, path: str, **claims: object) -> Mapping[str, str]:
        about = {"nomad_namespace": "default", "nomad_task": "job", **claims}
        (tmp_path / "nomad_vault_default.jwt").write_text(an_identity(key, **about))
        vault = vault_of(server, {"NOMAD_SECRETS_DIR": str(tmp_path)}, vault_jwt_role=role)
        return vault.read(path).fields

    assert read("penstock-job", STORE, nomad_job_id="penstock-train-s")
    assert read("penstock-pipeline", STORE, nomad_job_id="penstock-pipeline-flights")
    assert read("penstock-serving", "secret/penstock/gateway", nomad_job_id="penstock-serving")
    for role, claims in (
        ("penstock-serving", {"nomad_job_id": "penstock-train-s"}),
        ("penstock-job", {"nomad_job_id": "someone-elses"}),
        ("penstock-job", {"nomad_job_id": "penstock-train-s", "nomad_namespace": "other"}),
        ("penstock-job", {"nomad_job_id": "penstock-train-s", "aud": "other"}),
    ):
        with pytest.raises(Refused, match=f"the role {role} at auth/jwt-nomad"):
            read(role, STORE, **claims)
