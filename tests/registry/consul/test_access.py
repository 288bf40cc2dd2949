"""The variables of Consul's own command."""

from __future__ import annotations

from typing import Any

import pytest

from registry.consul import Access, is_named
from registry.errors import ConfigError


def access(**env: str) -> Access:
    return Access.from_environment({f"CONSUL_{name}": value for name, value in env.items()})


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("127.0.0.1:8500", "http://127.0.0.1:8500"),
        ("http://consul:8500", "http://consul:8500"),
        ("https://consul:8501/", "https://consul:8501"),
        ("http://consul", "http://consul:80"),
        ("https://consul", "https://consul:443"),
        ("http://[::1]:8500", "http://[::1]:8500"),
    ],
)
def test_an_address(address: str, url: str) -> None:
    assert access(HTTP_ADDR=address).url == url


@pytest.mark.parametrize("address", ["", "unix:///run/consul", "http://", "consul:many", "ftp://x"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ConfigError, match="CONSUL_HTTP_ADDR"):
        access(HTTP_ADDR=address)


def test_tls_that_was_asked_for_is_never_left_out() -> None:
    assert access(HTTP_ADDR="http://c:8501", HTTP_SSL="true").url == "https://c:8501"
    assert access(HTTP_ADDR="c:8501", HTTP_SSL="1").scheme == "https"


@pytest.mark.parametrize(
    ("env", "verify"),
    [
        ({}, True),
        ({"CACERT": "/ca.pem"}, "/ca.pem"),
        ({"CAPATH": "/cas"}, "/cas"),
        ({"HTTP_SSL_VERIFY": "true", "CACERT": "/ca.pem"}, "/ca.pem"),
        ({"HTTP_SSL_VERIFY": "false", "CACERT": "/ca.pem"}, False),
    ],
)
def test_servers_are_verified_unless_that_was_turned_off(env: dict[str, str], verify: Any) -> None:
    assert access(HTTP_ADDR="https://c", **env).verify == verify


def test_a_certificate_needs_its_key() -> None:
    both = access(HTTP_ADDR="https://c", CLIENT_CERT="/c.pem", CLIENT_KEY="/k.pem")
    assert both.certificate == ("/c.pem", "/k.pem")
    with pytest.raises(ConfigError, match="CONSUL_CLIENT_KEY"):
        access(HTTP_ADDR="https://c", CLIENT_CERT="/c.pem")


def test_consul_is_used_where_it_is_named() -> None:
    assert is_named({"CONSUL_HTTP_ADDR": "c:8500"})
    assert not is_named({"CONSUL_HTTP_ADDR": ""})
    assert not is_named({})
