"""What goes wrong with S3 servers: each failure is named, and no secret is."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from registry.artifacts.commit import commit
from registry.artifacts.fetch import fetch, find_manifest
from registry.artifacts.store import Store, open_store
from registry.artifacts.store.once import create_once
from registry.errors import NotFound, Refused, StoreError, StoreUnwritable
from tests.proxies import Quiet, deaf_server, lossy_proxy, serving
from tests.registry.makers import a_producer, a_recipe, an_attempt, an_output
from tests.servers.process import free_port
from tests.servers.s3 import SECRET_KEY, S3Server

SECRET = "wJalrXUtnFEMI-never-to-be-seen"


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with credentials and no address yet."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SECRET[::-1])
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return monkeypatch


def told(error: BaseException) -> str:
    """Everything that a log or a terminal could show of an error."""
    parts = [str(error), repr(error), repr(error.args), "".join(traceback.format_exception(error))]
    return "\n".join(parts)


def assert_no_secret(error: BaseException) -> None:
    for secret in (SECRET, SECRET[::-1], SECRET_KEY):
        assert secret not in told(error)


def test_a_server_that_ignores_conditional_writes_is_refused(credentials: pytest.MonkeyPatch):
    with deaf_server() as address:
        credentials.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(Refused, match="s3://bucket/prefix cannot be used") as caught:
            open_store("s3://bucket/prefix")
    assert "If-None-Match" in caught.value.todo
    assert caught.value.exit_code == 77


def test_a_server_that_cannot_be_reached_is_named(credentials: pytest.MonkeyPatch):
    credentials.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(StoreError, match="s3://bucket did not write") as caught:
        open_store("s3://bucket")
    assert "AWS_ENDPOINT_URL" in caught.value.todo
    assert_no_secret(caught.value)


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_wrong_credentials_are_told_and_not_shown(
    s3_url: str, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setenv(name, SECRET)
    with pytest.raises(StoreError) as caught:
        open_store(s3_url)
    assert "credentials" in str(caught.value) or "NotFound" in str(caught.value)
    if name == "AWS_SECRET_ACCESS_KEY":
        assert_no_secret(caught.value)


class Expired(Quiet):
    """Answers as AWS does to a session token that has expired."""

    def do_PUT(self) -> None:  # noqa: N802 (of the base class)
        self.body()
        self.reply(
            400,
            b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired."
            b"</Message></Error>",
        )

    do_GET = do_HEAD = do_PUT  # noqa: N815 (of the base class)


def test_expired_credentials_are_told_and_not_shown(credentials: pytest.MonkeyPatch):
    with serving(Expired) as address:
        credentials.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(StoreError, match="ExpiredToken") as caught:
            open_store("s3://bucket")
    assert_no_secret(caught.value)


def test_a_listing_that_is_refused_is_not_an_empty_one(
    s3_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    store = _unprobed(s3_url)
    for act in (
        lambda: list(store.list("manifests/")),
        lambda: store.get("key"),
        lambda: store.size("key"),
    ):
        with pytest.raises(StoreError, match="credentials") as caught:
            act()
        assert not isinstance(caught.value, NotFound)
        assert_no_secret(caught.value)
    with pytest.raises(StoreUnwritable, match="credentials"):
        store.create("key", b"")


def _unprobed(url: str) -> Store:
    from registry.artifacts.store.objects import open_bucket

    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    return open_bucket(bucket).under(prefix)


def test_a_bucket_that_is_not_there_is_not_an_empty_store(s3_url: str):
    with pytest.raises(StoreError, match="NoSuchBucket"):
        open_store("s3://nothing-of-that-name/prefix")
    store = _unprobed("s3://nothing-of-that-name/prefix")
    with pytest.raises(StoreError, match="NoSuchBucket"):
        store.get("key")
    with pytest.raises(StoreError, match="NoSuchBucket"):
        list(store.list(""))
    assert list(open_store(s3_url).under("nothing/here").list("")) == []


class ReadOnly(Quiet):
    """Lets everybody read an empty bucket, and nobody write."""

    def do_PUT(self) -> None:  # noqa: N802 (of the base class)
        self.body()
        self.reply(403, b"<Error><Code>AccessDenied</Code></Error>")

    def do_GET(self) -> None:  # noqa: N802 (of the base class)
        self.reply(404, b"<Error><Code>NoSuchKey</Code></Error>")


def test_credentials_that_may_only_read_are_enough_to_read(credentials: pytest.MonkeyPatch):
    with serving(ReadOnly) as address:
        credentials.setenv("AWS_ENDPOINT_URL", address)
        store = open_store("s3://bucket/prefix")
        with pytest.raises(NotFound):
            store.get("key")
        with pytest.raises(StoreUnwritable, match="credentials"):
            store.create("key", b"x")


class LoseFirst:
    """Loses the reply to the first request of each (method, path)."""

    def __init__(self, *methods: str) -> None:
        self._methods = methods
        self._seen: set[tuple[str, str]] = set()

    def __call__(self, method: str, path: str) -> bool:
        first = (method, path) not in self._seen
        self._seen.add((method, path))
        return first and method in self._methods


def test_replies_lost_by_the_network_make_no_false_conflict(
    s3: S3Server, s3_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """The client library sends each write again by itself and then finds its own object."""
    with lossy_proxy(s3.port, LoseFirst("PUT")) as (address, counts):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        store = open_store(s3_url)
        created = create_once(store, "record.json", b"mine")
        attempt = an_attempt(store)
        done = commit(store, attempt, an_output(tmp_path / "out"), a_producer(attempt))
        assert counts["lost"] == 6  # The probe, the record, the attempt, two files, the manifest.
        assert created.mine
        assert done.mine
        assert find_manifest(store, a_recipe()) == done.manifest
        fetch(store, done.reference, tmp_path / "cache")


def test_replies_lost_while_reading_are_asked_for_again(
    s3: S3Server, s3_url: str, monkeypatch: pytest.MonkeyPatch
):
    open_store(s3_url).create("a/key", b"data")
    with lossy_proxy(s3.port, LoseFirst("GET", "HEAD")) as (address, counts):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        store = open_store(s3_url)
        assert store.get("a/key") == b"data"
        assert store.size("a/key") == 4
        assert list(store.list("a")) == ["a/key"]
        assert counts["lost"] == 3
