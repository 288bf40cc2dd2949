"""A real Vault is sealed while a pipeline runs: a clear error, and after unsealing it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from registry.artifacts.manifest import decode
from registry.artifacts.store import Store, open_environment
from registry.errors import Temporary
from registry.settings import Settings
from tests.integration import smallrun
from tests.repository.tree import ROOT
from tests.servers.fixtures import require
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY, S3Server
from tests.servers.vault import VaultServer, vault_server

POLICIES = ROOT / "nomad/policies/vault"
STORE = "secret/penstock/store"


@pytest.mark.timeout(240)
def test_a_run_whose_vault_is_sealed_says_so_and_goes_on_after_unsealing(
    s3: S3Server, s3_url: str, tmp_path: Path
):
    with vault_server(require("vault"), tmp_path / "vault", dev=False) as vault:
        env = prepare(vault, s3, s3_url, tmp_path)
        first = smallrun.start("here", tmp_path, {**env, "SMALLJOB_PAUSE": "1"})
        store = the_store(s3, s3_url)
        smallrun.until(lambda: list(store.list("manifests")) != [], first)
        vault.seal()
        out, _ = first.communicate(timeout=100)
        assert first.returncode == Temporary.exit_code, out
        assert f"Vault at {vault.address} is sealed" in out
        assert "vault operator unseal" in out
        before = list(store.list("manifests"))
        assert 0 < len(before) < smallrun.ARTIFACTS
        again = smallrun.start("here", tmp_path, env)
        out, _ = again.communicate(timeout=60)
        assert again.returncode == Temporary.exit_code, out
        assert list(store.list("manifests")) == before
        vault.unseal()
        last = smallrun.start("here", tmp_path, env)
        out, _ = last.communicate(timeout=100)
        assert last.returncode == 0, out
    paths = list(store.list("manifests"))
    assert len(paths) == smallrun.ARTIFACTS
    assert set(before) < set(paths)
    assert len({decode(store.get(path), path).key for path in paths}) == len(paths)


def prepare(vault: VaultServer, s3: S3Server, url: str, folder: Path) -> dict[str, str]:
    """The environment of a pipeline whose store's credentials are in `vault`, by AppRole."""
    vault.policy("penstock-job", (POLICIES / "penstock-job.hcl").read_text())
    vault.write("penstock/store", access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY)
    role_id, secret_id = vault.make_approle("penstock", "penstock-job", token_ttl="10m")
    (folder / "secret-id").write_text(secret_id)
    addresses = {"AWS_ENDPOINT_URL": s3.endpoint, "AWS_REGION": "us-east-1"}
    none: dict[str, Any] = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    return {
        "PENSTOCK_STORE": url,
        "PENSTOCK_STORE_SECRET": f"vault:{STORE}",
        "PENSTOCK_VAULT_ROLE_ID": role_id,
        "PENSTOCK_VAULT_SECRET_ID_FILE": str(folder / "secret-id"),
        "VAULT_ADDR": vault.address,
        **addresses,
        **none,
    }


def the_store(s3: S3Server, url: str) -> Store:
    """The environment of the run, as the test itself sees it: with the credentials of `s3`."""
    return open_environment(
        Settings.load({"PENSTOCK_STORE": url, "PENSTOCK_ENVIRONMENT": "dev/test"})
    )
