"""Vault as its client sees it: ways to log in, leases, renewal, trouble. No secret is ever told."""

from __future__ import annotations

import subprocess
import traceback
from pathlib import Path

import pytest

from registry.errors import ConfigError, PenstockError, Refused, Temporary
from registry.secrets.vault.login import Grant
from registry.secrets.vault.origin import connect_vault
from registry.secrets.vault.server import Vault
from registry.settings import Settings
from tests.registry.secrets.fake import SECRET, fake_vault
from tests.servers.process import free_port

PATH = "secret/penstock/store"


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def vault_of(address: str, env: dict[str, str], **settings: object) -> Vault:
    names = {f"PENSTOCK_{name.upper()}": str(value) for name, value in settings.items()}
    return connect_vault(Settings.load(names), {"VAULT_ADDR": address, **env})


def told(error: BaseException) -> str:
    return "\n".join([str(error), repr(error.args), "".join(traceback.format_exception(error))])


def test_a_secret_is_read_with_the_token_of_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VAULT_TOKEN", "root")
    with fake_vault() as fake:
        fetched = vault_of(fake.address, {"VAULT_TOKEN": "root"}).read(PATH)
    assert (fetched.fields, fetched.lease_s) == (SECRET, None)
    assert SECRET["secret_access_key"] not in repr(fetched)


def test_a_token_in_a_file_is_read_again_at_each_use(tmp_path: Path):
    file = tmp_path / "vault_token"
    file.write_text("first-token\n")
    with fake_vault(tokens={"first-token"}) as fake:
        vault = vault_of(fake.address, {"NOMAD_SECRETS_DIR": str(tmp_path), "VAULT_TOKEN": "old"})
        vault.read(PATH)
        file.write_text("second-token")  # Nomad renewed it
        fake.tokens = {"second-token"}
        vault.read(PATH)
        file.unlink()
        with pytest.raises(ConfigError, match="vault_token"):
            vault.read(PATH)


def test_an_approle_logs_in_and_renews_at_two_thirds(tmp_path: Path):
    (tmp_path / "id").write_text("the-secret-id")
    clock = Clock()
    with fake_vault(lease=300) as fake:
        vault = vault_of(
            fake.address, {}, vault_role_id="the-role-id", vault_secret_id_file=tmp_path / "id"
        )
        vault._clock = clock
        vault.read(PATH)
        clock.now += 199
        vault.read(PATH)
        assert fake.count("renew-self") == 0
        clock.now += 2
        vault.read(PATH)
        assert (fake.count("renew-self"), len(fake.logins)) == (1, 1)
        fake.renewed_lease = 100  # the token nears the end of its life
        clock.now += 201
        vault.read(PATH)
        assert len(fake.logins) == 2
        fake.tokens = set()  # revoked: found out on use
        vault.read(PATH)
        assert len(fake.logins) == 3
    assert fake.logins[0] == {"role_id": "the-role-id", "secret_id": "the-secret-id"}


def test_a_wrapped_secret_id_is_unwrapped_once(tmp_path: Path):
    (tmp_path / "id").write_text(f"wrapping-token-{tmp_path.name}")
    with fake_vault() as fake:
        for _ in range(2):
            vault_of(
                fake.address, {}, vault_role_id="role", vault_secret_id_file=tmp_path / "id",
                vault_secret_id_wrapped="yes",
            ).read(PATH)  # fmt: skip
    assert fake.count("unwrap") == 1
    assert {login["secret_id"] for login in fake.logins} == {
        f"unwrapped-from-wrapping-token-{tmp_path.name}"
    }


def test_an_identity_logs_in_and_is_read_again(tmp_path: Path):
    jwt = tmp_path / "nomad_vault_default.jwt"
    jwt.write_text("first.identity.jwt")
    with fake_vault() as fake:
        vault = vault_of(
            fake.address, {"NOMAD_SECRETS_DIR": str(tmp_path)}, vault_jwt_role="penstock-job"
        )
        vault.read(PATH)
        jwt.write_text("second.identity.jwt")
        fake.tokens = set()
        vault.read(PATH)
    assert fake.logins == [
        {"role": "penstock-job", "jwt": "first.identity.jwt"},
        {"role": "penstock-job", "jwt": "second.identity.jwt"},
    ]
    assert fake.count("auth/jwt-nomad/login") == 2


def test_a_refused_login_tells_the_role_and_not_the_secret(tmp_path: Path):
    (tmp_path / "id").write_text("wrong-and-never-to-be-seen")
    with fake_vault() as fake:
        fake.trouble = (400, ["invalid secret id: wrong-and-never-to-be-seen"])
        vault = vault_of(
            fake.address, {}, vault_role_id="role", vault_secret_id_file=tmp_path / "id"
        )
        with pytest.raises(Refused, match="AppRole at auth/approle") as caught:
            vault.read(PATH)
    assert "never-to-be-seen" not in told(caught.value)


def test_no_way_to_log_in_names_all_of_them():
    with pytest.raises(ConfigError, match="VAULT_TOKEN, PENSTOCK_VAULT_TOKEN_FILE"):
        vault_of("http://127.0.0.1:1", {})
    with pytest.raises(ConfigError, match="VAULT_ADDR is not set"):
        connect_vault(Settings.load({}), {})


TROUBLE: dict[str, tuple[int, list[str], type[PenstockError], str]] = {
    "sealed": (503, ["Vault is sealed"], Temporary, "is sealed.*unseal"),
    "no leader": (500, ["local node not active but active cluster node not found"], Temporary,
                  "does not answer: local node"),
    "not set up": (501, ["Vault is not initialized"], Temporary, "not initialized"),
    "too many requests": (429, ["request path is rate limited"], Temporary, "rate limited"),
    "a proxy's error": (502, [], Temporary, "does not answer"),
    "a redirection": (307, [], Temporary, "does not answer"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TROUBLE)
def test_trouble_is_temporary_and_names_the_server(kind: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VAULT_TOKEN", "root")
    status, errors, expected, pattern = TROUBLE[kind]
    with fake_vault(trouble=(status, errors)) as fake:
        with pytest.raises(expected, match=pattern) as caught:
            vault_of(fake.address, {"VAULT_TOKEN": "root"}).read(PATH)
        assert fake.address in caught.value.what
    assert "run the same command again" in caught.value.todo


def test_a_server_that_is_down_is_temporary(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VAULT_TOKEN", "root")
    address = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Temporary, match=f"{address} does not answer: no connection") as caught:
        vault_of(address, {"VAULT_TOKEN": "root"}).read(PATH)
    assert caught.value.exit_code == 75


def test_what_may_not_be_read_names_path_and_policies(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VAULT_TOKEN", "root-token-canary")
    with fake_vault(tokens={"root-token-canary"}) as fake:
        vault = vault_of(fake.address, {"VAULT_TOKEN": "x"})
        vault.read(PATH)
        fake.tokens = set()
        with pytest.raises(Refused, match="the token is not valid, or") as caught:
            vault.read(PATH)
    assert "root-token-canary" not in told(caught.value)


@pytest.mark.parametrize("fields", [{}, {"a": 3}, {"a": ""}, {"a": {"b": "c"}}])
def test_what_is_no_secret_of_texts(monkeypatch: pytest.MonkeyPatch, fields: dict[str, object]):
    monkeypatch.setenv("VAULT_TOKEN", "root")
    with fake_vault(secrets={"penstock/store": fields}) as fake:
        vault = vault_of(fake.address, {"VAULT_TOKEN": "root"})
        with pytest.raises(ConfigError, match=f"vault:{PATH} cannot be used"):
            vault.read(PATH)
        with pytest.raises(ConfigError, match="nothing at secret/penstock/other"):
            vault.read("secret/penstock/other")


def test_credentials_that_vault_makes_have_its_lease(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VAULT_TOKEN", "root")
    with fake_vault(secret_lease=120) as fake:
        fetched = vault_of(fake.address, {"VAULT_TOKEN": "root"}).read("aws/creds/penstock")
    assert fetched.lease_s == 120
    assert fetched.fields == {"access_key": "a", "secret_key": "b"}


def test_a_certificate_that_is_not_known_is_refused(tmp_path: Path):
    """Verification cannot be switched off; the authority of VAULT_CACERT is all that helps."""
    import ssl
    import threading
    from http.server import ThreadingHTTPServer

    from tests.proxies import Quiet

    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-keyout", key,
         "-out", certificate, "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip

    class Sealed(Quiet):
        def do_GET(self) -> None:  # noqa: N802 (of the base class)
            self.reply(503, b'{"errors":["Vault is sealed"]}', Content_Type="application/json")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Sealed)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    address = f"https://127.0.0.1:{server.server_port}"
    (tmp_path / "token").write_text("some-token")
    try:
        for env in ({}, {"VAULT_SKIP_VERIFY": "1"}):
            with pytest.raises(ConfigError, match="VAULT_CACERT"):
                vault_of(address, env, vault_token_file=tmp_path / "token").read(PATH)
        trusting = {"VAULT_CACERT": str(certificate)}
        with pytest.raises(Temporary, match="is sealed"):
            vault_of(address, trusting, vault_token_file=tmp_path / "token").read(PATH)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_grant_does_not_show_its_token():
    assert "hidden" not in repr(Grant("hidden"))
