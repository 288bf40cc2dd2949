from __future__ import annotations

import uuid

import pytest

from tests.servers import process
from tests.servers.api import Api, ApiError
from tests.servers.fixtures import require
from tests.servers.vault import vault_server


def test_an_approle_may_read_what_its_policy_says(vault_env):
    name = uuid.uuid4().hex
    vault_env.write(f"{name}/open", word="here")
    vault_env.write(f"{name}/closed", word="there")
    vault_env.policy(name, f'path "secret/data/{name}/open" {{ capabilities = ["read"] }}')
    role_id, secret_id = vault_env.make_approle(name, name, token_ttl="10m")
    login = {"role_id": role_id, "secret_id": secret_id}
    granted = Api(vault_env.address).post("/v1/auth/approle/login", login)["auth"]
    assert granted["lease_duration"] == 600
    mine = Api(vault_env.address, {"X-Vault-Token": granted["client_token"]})
    assert mine.get(f"/v1/secret/data/{name}/open")["data"]["data"] == {"word": "here"}
    with pytest.raises(ApiError, match="403"):
        mine.get(f"/v1/secret/data/{name}/closed")


def test_a_token_lives_as_long_as_it_was_made_for(vault_env):
    token = vault_env.make_token("default", ttl="90s")
    about = Api(vault_env.address, {"X-Vault-Token": token}).get("/v1/auth/token/lookup-self")
    assert 0 < about["data"]["ttl"] <= 90


def test_a_sealed_vault_tells_nothing_until_it_is_unsealed(tmp_path):
    with vault_server(require("vault"), tmp_path / "vault", dev=False) as vault:
        vault.write("a/b", word="here")
        vault.seal()
        assert vault.sealed
        with pytest.raises(ApiError, match="503"):
            vault.read("a/b")
        vault.unseal()
        assert vault.read("a/b") == {"word": "here"}
        vault.kill()
        assert not process.accepts(vault.port)
        vault.start()
        assert vault.read("a/b") == {"word": "here"}
