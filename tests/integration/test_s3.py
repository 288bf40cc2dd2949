"""Pipelines and writers against a real S3 server: races, a server that dies, credentials that end."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from registry.artifacts.commit import commit
from registry.artifacts.fetch import fetch, find_manifest
from registry.artifacts.manifest import decode
from registry.artifacts.store import Store, open_environment, open_store
from registry.artifacts.store.credentials import StoreCredentials
from registry.artifacts.store.objects import MULTIPART_BYTES, open_bucket
from registry.errors import ConfigError, NotFound, StoreError, StoreUnwritable
from registry.secrets.cached import CachedSource, Patience
from registry.secrets.protocol import Fetched
from registry.settings import Settings
from tests.campaigns.pipeline import SIZES
from tests.integration import smallrun
from tests.integration.gateway import Gateway
from tests.proxies import cutting_proxy
from tests.registry.makers import a_producer, a_recipe, an_attempt, an_output
from tests.servers.s3 import BUCKET, S3Server

FIRST = ("first-key", "first-secret-never-to-be-seen")
SECOND = ("second-key", "second-secret-never-to-be-seen")


# races ----------------------------------------------------------------------------------------


@pytest.mark.timeout(180)
def test_two_pipelines_at_once_make_one_manifest_of_each(s3: S3Server, s3_url: str, tmp_path: Path):
    env = {"PENSTOCK_STORE": s3_url, **s3.environment}
    names = ("one", "two")
    runs = [smallrun.start(name, tmp_path / name, env, "features") for name in names]
    for run in runs:
        out, _ = run.communicate(timeout=150)
        assert run.returncode == 0, out
    store = open_environment(Settings.load({**env, "PENSTOCK_ENVIRONMENT": "dev/test"}))
    paths = list(store.list("manifests"))
    assert len(paths) == SIZES["features"]
    keys = [decode(store.get(path), path).key for path in paths]
    assert len(set(keys)) == len(keys)
    for path in paths:
        manifest = decode(store.get(path), path)
        fetch(store, manifest.reference(path), tmp_path / "cache")


# a server that dies ---------------------------------------------------------------------------


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """A server that is not started yet; the environment names it, and no credentials."""
    made = Gateway.below(tmp_path / "gateway")
    monkeypatch.setenv("AWS_ENDPOINT_URL", made.server.endpoint)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return made


def test_a_server_killed_half_way_through_an_upload_leaves_nothing_to_see(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """80 MiB go up in parts; after 20 the server is killed. The next run makes it whole."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", FIRST[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", FIRST[1])
    big = os.urandom(1 << 20) * 80
    assert len(big) > MULTIPART_BYTES
    out = an_output(tmp_path / "out", {"model.txt": b"small", "nested/big.bin": big})
    with gateway.running(FIRST):
        store = open_store(f"s3://{BUCKET}/root")
        attempt = an_attempt(store)
        with cutting_proxy(gateway.server.port, 20 << 20, gateway.kill) as (address, passed):
            monkeypatch.setenv("AWS_ENDPOINT_URL", address)
            with pytest.raises(StoreError):
                commit(open_bucket(BUCKET).under("root"), attempt, out, a_producer(attempt))
        assert passed() >= 20 << 20
    monkeypatch.setenv("AWS_ENDPOINT_URL", gateway.server.endpoint)
    with gateway.running(FIRST):
        store = open_store(f"s3://{BUCKET}/root")
        assert find_manifest(store, a_recipe()) is None
        assert [key for key in store.list("data") if key.endswith("big.bin")] == []
        again = an_attempt(store, number=2)
        done = commit(store, again, out, a_producer(again))
        assert done.mine
        folder = fetch(store, done.reference, tmp_path / "cache")
        assert (folder / "nested/big.bin").read_bytes() == big
        assert len(list(store.list("manifests"))) == 1


# credentials that end -------------------------------------------------------------------------


def a_secret(path: Path, user: tuple[str, str]) -> None:
    path.write_text(f"access_key_id={user[0]}\nsecret_access_key={user[1]}\n")


def settings_of(file: Path) -> Settings:
    url = f"s3://{BUCKET}/root"
    return Settings.load({"PENSTOCK_STORE": url, "PENSTOCK_STORE_SECRET": f"file:{file}"})


def test_credentials_rotated_in_their_file_need_no_restart(gateway: Gateway, tmp_path: Path):
    file = tmp_path / "store"
    a_secret(file, FIRST)
    with gateway.running(FIRST):
        store = open_store(f"s3://{BUCKET}/root", settings_of(file))
        store.create("before", b"1")
    with gateway.running(SECOND):  # the first ones have expired
        with pytest.raises(StoreUnwritable, match=f"Renew file:{file}") as caught:
            store.create("meanwhile", b"2")
        assert caught.value.exit_code == 73
        for act in (lambda: store.get("before"), lambda: list(store.list(""))):
            with pytest.raises(StoreError, match="credentials") as failed:
                act()
            assert "never-to-be-seen" not in str(failed.value)
        a_secret(file, SECOND)
        store.create("meanwhile", b"2")
        assert store.get("before") == b"1"
        assert list(store.list("")) == ["before", "meanwhile", "probe/create-if-absent"]


class Rotated:
    """An origin whose secret changes; it is kept for an hour."""

    name = "vault:secret/penstock/store"
    user = FIRST

    def fetch(self) -> Fetched:
        return Fetched({"access_key_id": self.user[0], "secret_access_key": self.user[1]})


def test_a_request_turned_away_is_made_again_with_the_new_credentials(
    gateway: Gateway, tmp_path: Path
):
    origin = Rotated()
    credentials = StoreCredentials(CachedSource(origin, Patience(3600, 3600)))
    store: Store = open_bucket(BUCKET, credentials).under("root")
    with gateway.running(FIRST):
        store.create("one", b"1")
    origin.user = SECOND
    with gateway.running(SECOND):
        store.create("two", b"2")
        store.download("one", tmp_path / "one")
        assert store.size("two") == 1
        with pytest.raises(NotFound):
            store.get("three")
    assert (tmp_path / "one").read_bytes() == b"1"


@pytest.mark.parametrize("text", [None, "access_key_id=x", "{"])
def test_credentials_that_are_not_there_are_named(
    gateway: Gateway, tmp_path: Path, text: str | None
):
    file = tmp_path / "store"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=f"file:{file}"):
        open_store(f"s3://{BUCKET}/root", settings_of(file))


@pytest.mark.timeout(180)
def test_a_pipeline_goes_on_once_its_credentials_are_renewed(gateway: Gateway, tmp_path: Path):
    """Expired at the start: a clear error. Renewed in the file: the same command does it all."""
    file = tmp_path / "store"
    a_secret(file, FIRST)
    env: Mapping[str, str] = {
        "PENSTOCK_STORE": f"s3://{BUCKET}/root",
        "PENSTOCK_STORE_SECRET": f"file:{file}",
    }
    with gateway.running(SECOND):
        first = smallrun.start("one", tmp_path / "one", env, "features")
        out, _ = first.communicate(timeout=60)
        assert first.returncode in (73, 74), out
        assert f"Renew file:{file}" in out
        a_secret(file, SECOND)
        second = smallrun.start("one", tmp_path / "one", env, "features")
        out, _ = second.communicate(timeout=100)
        assert second.returncode == 0, out
        assert "never-to-be-seen" not in out


def test_stopping_a_server_is_what_it_says(gateway: Gateway):
    with gateway.running(FIRST):
        gateway.kill()
        assert gateway.process is not None
        assert gateway.process.returncode == -signal.SIGKILL
