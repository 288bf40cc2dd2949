"""A store in an S3 bucket (or anything that speaks S3), through obstore.

Addresses and credentials come from the variables that S3 clients share: AWS_ENDPOINT_URL,
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION. Small objects are put
with `If-None-Match: *`; files above `MULTIPART_BYTES` go up in parts without the condition, which
is safe because only one writer ever uses their prefix.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore import exceptions as failures
from obstore.store import S3Store

from registry.artifacts.store.protocol import AlreadyExists, Store, check_object_key, check_prefix
from registry.errors import NotFound, StoreError, StoreUnwritable

MULTIPART_BYTES = 64 << 20
_DENIED = (failures.PermissionDeniedError, failures.UnauthenticatedError)
#: Listings are refused with a general error that only tells the status in its text.
_REFUSAL = re.compile(r"status code: 40[13]\b")
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")


def open_bucket(bucket: str) -> ObjectStore:
    """The bucket as a store, with the address and credentials of the environment."""
    plain_http = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    client: Any = S3Store(
        bucket,
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
    return ObjectStore(client, f"s3://{bucket}", "")


class ObjectStore:
    """A bucket as a store; see `Store` for the methods."""

    def __init__(self, client: Any, bucket_url: str, prefix: str) -> None:
        self._client = client
        self._bucket_url = bucket_url
        self._prefix = prefix

    @property
    def url(self) -> str:
        return f"{self._bucket_url}/{self._prefix}".rstrip("/")

    def under(self, prefix: str) -> Store:
        below = self._prefix + check_object_key(prefix.strip("/")) + "/"
        return ObjectStore(self._client, self._bucket_url, below)

    def create(self, key: str, data: bytes) -> None:
        with _talking("write", key, self.url):
            obstore.put(self._client, self._full(key), data, mode="create")

    def create_from(self, key: str, path: Path) -> None:
        large = path.stat().st_size > MULTIPART_BYTES
        with _talking("write", key, self.url):
            if large:
                obstore.put(self._client, self._full(key), path)
            else:
                obstore.put(self._client, self._full(key), path.read_bytes(), mode="create")

    def get(self, key: str) -> bytes:
        with _talking("read", key, self.url):
            return bytes(obstore.get(self._client, self._full(key)).bytes())

    def download(self, key: str, path: Path) -> None:
        with _talking("read", key, self.url), path.open("wb") as target:
            for chunk in obstore.get(self._client, self._full(key)).stream(1 << 20):
                target.write(chunk)

    def size(self, key: str) -> int:
        with _talking("read", key, self.url):
            return int(obstore.head(self._client, self._full(key))["size"])

    def list(self, prefix: str) -> Iterator[str]:
        below = self._prefix + check_prefix(prefix)
        with _talking("list", prefix, self.url):
            found = [
                str(entry["path"])
                for page in obstore.list(self._client, below or None)
                for entry in page
            ]
        yield from sorted(path[len(self._prefix) :] for path in found)

    def delete(self, key: str) -> None:
        try:
            with _talking("write", key, self.url):
                obstore.delete(self._client, self._full(key))
        except NotFound:
            return

    def local_path(self, key: str) -> Path | None:  # noqa: ARG002 (the protocol's signature)
        return None

    def _full(self, key: str) -> str:
        return self._prefix + check_object_key(key)


@contextmanager
def _talking(verb: str, key: str, url: str) -> Iterator[None]:
    try:
        yield
    except (failures.AlreadyExistsError, failures.PreconditionError):
        raise AlreadyExists(f"{key} exists already") from None
    except (failures.NotFoundError, FileNotFoundError) as error:
        # A 404 is about the key only if it says so; the bucket or the user may be what is missing.
        if verb == "write" or _code(error) not in ("", "NoSuchKey"):
            raise _failed(verb, key, url, error) from None
        raise NotFound(f"{key} is not in the store") from None
    except _DENIED:
        raise _denied(verb, key, url) from None
    except failures.BaseError as error:
        if _REFUSAL.search(str(error)):
            raise _denied(verb, key, url) from None
        raise _failed(verb, key, url, error) from None


def _failed(verb: str, key: str, url: str, error: Exception) -> StoreError:
    return StoreError(
        f"the store {url} did not {verb} {key}",
        _code(error) or _first_line(error),
        "Check the bucket, AWS_ENDPOINT_URL, and that the server is up, then run again.",
    )


def _denied(verb: str, key: str, url: str) -> StoreError:
    kind = StoreUnwritable if verb == "write" else StoreError
    return kind(
        f"the store {url} refused to {verb} {key}",
        "the credentials lack the right, are wrong, or have expired",
        "Renew AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, then run again.",
    )


def _code(error: Exception) -> str:
    """The error code of the S3 protocol, such as NoSuchBucket, or nothing."""
    found = _CODE.search(str(error))
    return found.group(1) if found else ""


def _first_line(error: Exception) -> str:
    """The cause without the request's headers, which could hold credentials."""
    return str(error).partition("\n")[0][:200]
