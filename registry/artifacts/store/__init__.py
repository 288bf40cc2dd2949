"""Where artifacts lie: a folder, an S3 bucket, or memory, behind one protocol.

A store never overwrites and never renames. `create` is atomic and create-if-absent: exactly one
of several racing writers succeeds. The contract suite `tests/contracts/test_store.py` runs over
all implementations.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from registry.artifacts.store.protocol import AlreadyExists, Store
from registry.errors import ConfigError

if TYPE_CHECKING:
    from registry.artifacts.store.credentials import StoreCredentials
    from registry.settings import Settings

__all__ = ["AlreadyExists", "Store", "open_environment", "open_source", "open_store"]


def open_store(url: str, settings: Settings | None = None) -> Store:
    """The store at `url`: a path, `file://…`, `s3://bucket/prefix` or `memory://name`.

    `settings` say where the credentials of an S3 store are; left out, those of the environment.

    Raises:
        ConfigError: no such kind of store.
        Refused: the server ignores conditional writes (S3 stores are probed here).
        StoreError: the server cannot be reached or refuses the credentials.
        Temporary: the credentials are in Vault, which is sealed or out of reach.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme == "file":
        return _local(rest if separator else url)
    if scheme == "s3":
        return _s3(rest, settings)
    if scheme == "memory":
        return _memory(rest)
    raise ConfigError(
        f"the store {url!r} cannot be used",
        f"there is no kind of store called {scheme!r}",
        "Set PENSTOCK_STORE to a folder or to s3://bucket/prefix.",
    )


def open_source(url: str, settings: Settings) -> Store:
    """The store at `url`, to read data from: unlike `open_store` it may be one that none may write.

    Raises:
        ConfigError: no such kind of store.
    """
    if url.startswith("s3://"):
        from registry.artifacts.store.objects import open_bucket

        return open_bucket(url.removeprefix("s3://"), _credentials(settings))
    return open_store(url, settings)


def open_environment(settings: Settings) -> Store:
    """The root of the environment that `settings` name, inside their store."""
    return open_store(settings.store, settings).under(settings.environment)


def _local(path: str) -> Store:
    from registry.artifacts.store.local import LocalStore

    return LocalStore(Path(path).expanduser().absolute())


def _s3(rest: str, settings: Settings | None) -> Store:
    from registry.artifacts.store.objects import open_bucket
    from registry.artifacts.store.probe import require_conditional_create

    bucket, _, prefix = rest.partition("/")
    if not bucket:
        raise ConfigError("the store s3:// names no bucket", "", "Use s3://bucket/prefix.")
    store = open_bucket(bucket, _credentials(settings))
    require_conditional_create(store.under(prefix) if prefix.strip("/") else store)
    return store.under(prefix) if prefix.strip("/") else store


def _credentials(settings: Settings | None) -> StoreCredentials | None:
    """The credentials where settings name a place for them; None leaves them to the S3 client."""
    from registry.settings import Settings

    chosen = settings or Settings.load()
    if chosen.store_secret is None:
        return None
    from registry.artifacts.store.credentials import StoreCredentials
    from registry.secrets import open_secret

    return StoreCredentials(open_secret(chosen.store_secret, chosen))


def _memory(name: str) -> Store:
    from registry.artifacts.store.memory import named_memory

    label, _, prefix = name.partition("/")
    store = named_memory(label)
    return store.under(prefix) if prefix.strip("/") else store
