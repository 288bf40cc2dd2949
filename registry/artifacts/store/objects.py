"""A store in an S3 bucket (or anything that speaks S3), through obstore.

The address comes from the variables that S3 clients share, AWS_ENDPOINT_URL and AWS_REGION. So do
the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), unless
PENSTOCK_STORE_SECRET names a place for them: then they are asked for at every use, and a request
that the store turned away is made once more where they have changed meanwhile.

Small objects are put with `If-None-Match: *`; files above `MULTIPART_BYTES` go up in parts without the condition, which
is safe because only one writer ever uses their prefix.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import obstore
from obstore import exceptions as failures
from obstore.store import S3Store

from registry.artifacts.store.credentials import StoreCredentials
from registry.artifacts.store.protocol import AlreadyExists, Store, check_object_key, check_prefix
from registry.errors import NotFound, PenstockError, StoreError, StoreUnwritable

Found = TypeVar("Found")

MULTIPART_BYTES = 64 << 20
_DENIED = (failures.PermissionDeniedError, failures.UnauthenticatedError)
#: Listings are refused with a general error that only tells the status in its text.
_REFUSAL = re.compile(r"status code: 40[13]\b")
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")
#: What obstore calls the place where a credential provider failed.
_PROVIDER = "credential provider"
#: Codes by which a server tells that credentials are at fault, whatever the status.
_STALE = frozenset({
    "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch",
    "XAdminUserNotFound",  # versitygw, with a 404
})  # fmt: skip


def open_bucket(bucket: str, credentials: StoreCredentials | None = None) -> ObjectStore:
    """The bucket as a store, with the address of the environment.

    Args:
        bucket: its name.
        credentials: where they come from; the environment if left out.
    """
    plain_http = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    client: Any = S3Store(
        bucket,
        credential_provider=credentials,
        client_options={"allow_http": plain_http, "timeout": "60s", "connect_timeout": "5s"},
        retry_config={
            "max_retries": 4,
            "retry_timeout": timedelta(seconds=30),
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=5),
                "base": 2.0,
            },
        },
    )
    return ObjectStore(client, f"s3://{bucket}", "", credentials)


class ObjectStore:
    """A bucket as a store; see `Store` for the methods."""

    def __init__(
        self,
        client: Any,
        bucket_url: str,
        prefix: str,
        credentials: StoreCredentials | None = None,
    ) -> None:
        self._client = client
        self._bucket_url = bucket_url
        self._prefix = prefix
        self._credentials = credentials

    @property
    def url(self) -> str:
        return f"{self._bucket_url}/{self._prefix}".rstrip("/")

    def under(self, prefix: str) -> Store:
        below = self._prefix + check_object_key(prefix.strip("/")) + "/"
        return ObjectStore(self._client, self._bucket_url, below, self._credentials)

    def create(self, key: str, data: bytes) -> None:
        full = self._full(key)
        self._ask("write", key, lambda: obstore.put(self._client, full, data, mode="create"))

    def create_from(self, key: str, path: Path) -> None:
        full = self._full(key)
        if path.stat().st_size > MULTIPART_BYTES:
            self._ask("write", key, lambda: obstore.put(self._client, full, path))
        else:
            self.create(key, path.read_bytes())

    def get(self, key: str) -> bytes:
        full = self._full(key)
        return self._ask("read", key, lambda: bytes(obstore.get(self._client, full).bytes()))

    def get_range(self, key: str, start: int, end: int) -> bytes:
        full = self._full(key)
        return self._ask(
            "read", key, lambda: bytes(obstore.get_range(self._client, full, start=start, end=end))
        )

    def download(self, key: str, path: Path) -> None:
        full = self._full(key)

        def stream() -> None:
            with path.open("wb") as target:
                for chunk in obstore.get(self._client, full).stream(1 << 20):
                    target.write(chunk)

        self._ask("read", key, stream)

    def size(self, key: str) -> int:
        full = self._full(key)
        return self._ask("read", key, lambda: int(obstore.head(self._client, full)["size"]))

    def list(self, prefix: str) -> Iterator[str]:
        below = self._prefix + check_prefix(prefix)
        pages = self._ask("list", prefix, lambda: [*obstore.list(self._client, below or None)])
        found = [str(entry["path"]) for page in pages for entry in page]
        yield from sorted(path[len(self._prefix) :] for path in found)

    def delete(self, key: str) -> None:
        full = self._full(key)
        try:
            self._ask("write", key, lambda: obstore.delete(self._client, full))
        except NotFound:
            return

    def local_path(self, key: str) -> Path | None:  # noqa: ARG002 (the protocol's signature)
        return None

    def _full(self, key: str) -> str:
        return self._prefix + check_object_key(key)

    def _ask(self, verb: str, key: str, act: Callable[[], Found]) -> Found:
        """Do `act`, once more if the store turned away credentials that have been replaced."""
        credentials = self._credentials
        with _talking(verb, key, self.url, credentials):
            try:
                return act()
            except (failures.BaseError, FileNotFoundError) as error:
                answered = _PROVIDER not in str(error) and _is_denied(error)
                if credentials is None or not answered or not credentials.renewed():
                    raise
            return act()


@contextmanager
def _talking(verb: str, key: str, url: str, credentials: StoreCredentials | None) -> Iterator[None]:
    try:
        yield
    except (failures.AlreadyExistsError, failures.PreconditionError):
        raise AlreadyExists(f"{key} exists already") from None
    except (failures.NotFoundError, FileNotFoundError) as error:
        # A 404 is about the key only if it says so; the bucket or the user may be what is missing.
        if _is_denied(error):
            raise _denied(verb, key, url, credentials, error) from None
        if verb == "write" or _code(error) not in ("", "NoSuchKey"):
            raise _failed(verb, key, url, error) from None
        raise NotFound(f"{key} is not in the store") from None
    except failures.BaseError as error:
        if (failure := _unprovided(error, credentials)) is not None:
            raise failure from None
        if _is_denied(error):
            raise _denied(verb, key, url, credentials, error) from None
        raise _failed(verb, key, url, error) from None


def _is_denied(error: Exception) -> bool:
    """Whether other credentials might help."""
    known = isinstance(error, _DENIED) or _code(error) in _STALE
    return known or bool(_REFUSAL.search(str(error)))


def _unprovided(error: Exception, credentials: StoreCredentials | None) -> PenstockError | None:
    """Why there were no credentials, if that is what `error` is about."""
    if credentials is None or _PROVIDER not in str(error):
        return None
    return credentials.failure


def _failed(verb: str, key: str, url: str, error: Exception) -> StoreError:
    return StoreError(
        f"the store {url} did not {verb} {key}",
        _code(error) or _first_line(error),
        "Check the bucket, AWS_ENDPOINT_URL, and that the server is up, then run again.",
    )


def _denied(
    verb: str, key: str, url: str, credentials: StoreCredentials | None, error: Exception
) -> StoreError:
    kind = StoreUnwritable if verb == "write" else StoreError
    code = _code(error)
    told = f" ({code})" if code else ""
    names = credentials.name if credentials else "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    return kind(
        f"the store {url} refused to {verb} {key}",
        f"the credentials lack the right, are wrong, or have expired{told}",
        f"Renew {names}, then run again.",
    )


def _code(error: Exception) -> str:
    """The error code of the S3 protocol, such as NoSuchBucket, or nothing."""
    found = _CODE.search(str(error))
    return found.group(1) if found else ""


def _first_line(error: Exception) -> str:
    """The cause without the request's headers, which could hold credentials."""
    return str(error).partition("\n")[0][:200]
