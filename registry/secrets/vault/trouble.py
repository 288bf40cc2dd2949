"""What goes wrong with Vault, as errors of penstock. Answers of the server are never repeated whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hvac import exceptions as failures
from requests import exceptions as transport

from registry.errors import ConfigError, Refused, Temporary
from registry.redaction import redact


@contextmanager
def explained(address: str, path: str = "the path asked for") -> Iterator[None]:
    """Turn what hvac raises into Temporary, Refused or ConfigError."""
    try:
        yield
    except failures.InvalidPath:
        raise ConfigError(
            f"Vault at {address} has nothing at {path}",
            "the path was never written, its newest version was deleted, or nothing is mounted",
            "Write it (`vault kv put …`), or check the path in the setting, VAULT_NAMESPACE, and "
            "where the engine and the login method are mounted.",
        ) from None
    except failures.VaultDown as error:
        raise _down(address, error) from None
    except (failures.Forbidden, failures.InvalidRequest, failures.Unauthorized) as error:
        raise Refused(f"Vault at {address} refused", reason_of(error)) from None
    except failures.VaultError as error:
        raise _troubled(address, reason_of(error) or type(error).__name__) from None
    except transport.SSLError:
        raise ConfigError(
            f"Vault at {address} cannot be trusted",
            "its certificate is not signed by an authority known here",
            "Set VAULT_CACERT to the file of the authority's certificate.",
        ) from None
    except (transport.InvalidURL, transport.MissingSchema, transport.InvalidSchema):
        raise ConfigError("VAULT_ADDR is no address", "", "Write https://host:8200.") from None
    except transport.RequestException as error:
        raise _troubled(address, _connection(error)) from None


def reason_of(error: failures.VaultError) -> str:
    """The first thing that Vault said, in one line and without secrets."""
    told = " ".join(str(error.errors[0]).split()) if error.errors else ""
    return redact(told)[:200]


def _down(address: str, error: failures.VaultError) -> Temporary:
    sealed = "sealed" in " ".join(map(str, error.errors or ())).lower()
    if not sealed:
        return _troubled(address, reason_of(error) or "it is not in service")
    return Temporary(
        f"Vault at {address} is sealed",
        "it gives no secret until it is unsealed",
        "Have it unsealed (`vault operator unseal`), then run the same command again: it goes on "
        "where it stopped.",
    )


def _troubled(address: str, why: str) -> Temporary:
    return Temporary(
        f"Vault at {address} does not answer",
        why,
        "Check that it is up and VAULT_ADDR is right, then run the same command again: it goes on "
        "where it stopped.",
    )


def _connection(error: transport.RequestException) -> str:
    if isinstance(error, transport.Timeout):
        return "it did not answer in time"
    return "no connection" if isinstance(error, transport.ConnectionError) else "a broken answer"
