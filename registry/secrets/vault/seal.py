"""Whether Vault is in service, which it tells without a login."""

from __future__ import annotations

import os
from collections.abc import Mapping

import hvac

from registry.errors import PenstockError
from registry.secrets.vault.server import TIMEOUT
from registry.secrets.vault.trouble import explained


def trouble_with_vault(env: Mapping[str, str] | None = None) -> str:
    """What keeps the Vault that `VAULT_ADDR` names from giving secrets, in words for people.

    Empty where it is in service, and where no Vault is named. Never raises: this is for those who
    wait for somebody else's login.
    """
    source = os.environ if env is None else env
    address = source.get("VAULT_ADDR", "").rstrip("/")
    if not address:
        return ""
    authority = source.get("VAULT_CACERT") or source.get("VAULT_CAPATH") or True
    client = hvac.Client(
        url=address, token="", verify=authority, timeout=TIMEOUT, allow_redirects=False
    )
    try:
        with explained(address):
            sealed = client.sys.is_sealed()
    except PenstockError as error:
        return f"{error.what}: {error.why}" if error.why else error.what
    finally:
        client.adapter.close()
    return f"Vault at {address} is sealed" if sealed else ""
