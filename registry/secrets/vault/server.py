"""A Vault server: logged in when it is first asked, and again when a token has run out.

Renewal is done on use, at two thirds of the token's life; nothing runs in the background. The
address, the namespace and the certificate authority come from the variables that Vault's own
client reads. Certificates are always verified, and redirections are never followed: they would
carry the token elsewhere.

API: https://developer.hashicorp.com/vault/api-docs
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import hvac
from hvac.exceptions import BadGateway, Forbidden, InvalidRequest

from registry.errors import Refused
from registry.secrets.fields import checked_fields
from registry.secrets.protocol import Fetched
from registry.secrets.vault.login import Grant, Login
from registry.secrets.vault.trouble import explained, reason_of

#: Seconds to connect, and to wait for an answer.
TIMEOUT = (5.0, 10.0)
#: A renewal that gives less than this share of the first lease nears the end of the token's life.
WORTHWHILE = 0.5


class Vault:
    """One server, as one user. Shared between threads."""

    def __init__(
        self,
        address: str,
        login: Login,
        *,
        namespace: str | None = None,
        authority: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address = address
        self.login = login
        self._namespace = namespace
        self._authority = authority
        self._clock = clock
        self._client: Any = None
        self._process = 0
        self._grant: Grant | None = None
        self._first_lease = 0.0
        self._renew_at = float("inf")
        self._versioned: dict[str, str] = {}
        self._lock = threading.RLock()

    def read(self, path: str) -> Fetched:
        """The newest secret at `path`, which starts with the mount: secret/penstock/store.

        Raises:
            Temporary: the server is sealed, out of reach, or in trouble.
            Refused: the login failed, or the policies do not allow it.
            ConfigError: there is nothing at the path; the address or authority is wrong.
        """
        with self._lock, explained(self.address, path):
            try:
                self._ensure_token()
                return self._read(path)
            except Forbidden:
                # A token that has run out looks like a right that is missing: try with a new one.
                self._log_in()
            try:
                return self._read(path)
            except Forbidden:
                raise self._denied(path) from None

    def check(self) -> str:
        """Log in; tell how, and with which policies. Raises as `read` does."""
        with self._lock, explained(self.address):
            self._log_in()
            policies = ", ".join(self._policies())
            return f"Vault at {self.address} by {self.login.name}, policies: {policies}"

    # reading ----------------------------------------------------------------------------------

    def _read(self, path: str) -> Fetched:
        data_path, versioned = self._data_path(path)
        body = self._get(data_path)
        data = (body.get("data") or {}).get("data") if versioned else body.get("data")
        lease = float(body.get("lease_duration") or 0) if body.get("lease_id") else None
        return Fetched(checked_fields(data, f"vault:{path}"), lease)

    def _data_path(self, path: str) -> tuple[str, bool]:
        """Where the API has `path`, and whether its engine keeps versions (KV version 2)."""
        mount = self._versioned.get(path)
        if mount is None:
            found = self._get(f"sys/internal/ui/mounts/{path}")["data"]
            new = found["type"] == "kv" and (found.get("options") or {}).get("version") == "2"
            mount = self._versioned[path] = found["path"] if new else ""
        return (f"{mount}data/{path[len(mount) :]}", True) if mount else (path, False)

    # tokens -----------------------------------------------------------------------------------

    def _ensure_token(self) -> None:
        if self._grant is None or self._grant.lease_s is None:
            self._log_in()  # a token that others renew: taken from its place each time
        elif self._clock() >= self._renew_at:
            self._renew()

    def _log_in(self) -> None:
        self._adapter().token = None
        try:
            grant = self.login.log_in(self._post)
        except (Forbidden, InvalidRequest) as error:
            raise Refused(
                f"Vault at {self.address} refused {self.login.name}",
                reason_of(error),
                "Check the role, that its secret or identity is the newest, and its bounds.",
            ) from None
        self._first_lease = grant.lease_s or 0.0
        self._hold(grant)

    def _renew(self) -> None:
        """Prolong the token; log in anew where that gains too little."""
        assert self._grant is not None
        if self._grant.renewable:
            try:
                auth = self._post("auth/token/renew-self", {})["auth"]
            except (Forbidden, InvalidRequest):
                self._log_in()
                return
            lease = float(auth["lease_duration"])
            if lease >= self._first_lease * WORTHWHILE:
                self._hold(Grant(self._grant.token, lease, bool(auth["renewable"])))
                return
        self._log_in()

    def _hold(self, grant: Grant) -> None:
        self._grant = grant
        self._adapter().token = grant.token
        lease = grant.lease_s
        self._renew_at = float("inf") if lease is None else self._clock() + lease * 2 / 3

    # errors and the connection ----------------------------------------------------------------

    def _denied(self, path: str) -> Refused:
        try:
            held = ", ".join(self._policies())
        except Forbidden:
            return Refused(
                f"Vault at {self.address} does not let {self.login.name} read {path}",
                "the token is not valid, or its policies allow neither this nor a look at itself",
                "Log in again; if that does not help, let a policy of the login read the path.",
            )
        data_path = self._versioned.get(path, "")
        rule = f"{data_path}data/{path[len(data_path) :]}" if data_path else path
        return Refused(
            f"Vault at {self.address} does not let {self.login.name} read {path}",
            f"its policies are: {held}",
            f'Add a policy with `path "{rule}" {{ capabilities = ["read"] }}` to the role.',
        )

    def _policies(self) -> list[str]:
        found = self._get("auth/token/lookup-self")["data"]
        return sorted({*found.get("policies", ()), *(found.get("identity_policies") or ())})

    def _get(self, path: str) -> Mapping[str, Any]:
        return _document(self._adapter().get(f"/v1/{path}"))

    def _post(self, path: str, data: Mapping[str, str], token: str = "") -> Mapping[str, Any]:
        headers = {"X-Vault-Token": token} if token else {}
        return _document(self._adapter().post(f"/v1/{path}", json=dict(data), headers=headers))

    def _adapter(self) -> Any:
        """The connection; a fork gets one of its own."""
        if self._client is None or self._process != os.getpid():
            token = self._grant.token if self._grant else ""
            self._client = hvac.Client(
                url=self.address,
                token=token,
                namespace=self._namespace,
                verify=self._authority or True,
                timeout=TIMEOUT,
                allow_redirects=False,
            )
            self._process = os.getpid()
        return self._client.adapter


def _document(answer: Any) -> Mapping[str, Any]:
    """The answer, if it is one of Vault's; hvac hands over anything else as it came."""
    if isinstance(answer, Mapping):
        return answer
    told = f"the answer is no document (status {getattr(answer, 'status_code', '?')})"
    raise BadGateway(errors=[told])
