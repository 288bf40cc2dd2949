from __future__ import annotations

import pytest

from tests.servers.api import Api, ApiError
from tests.servers.consul import consul_agent
from tests.servers.fixtures import require


def test_keys_and_services_of_a_test_are_forgotten(consul_env):
    assert consul_env.api.put("/v1/kv/a/b", "c") is True
    consul_env.api.put("/v1/agent/service/register", {"Name": "web", "Port": 1})
    assert consul_env.api.get("/v1/kv/a/b?raw") == "c"
    assert consul_env.api.get("/v1/health/service/web?passing")
    consul_env.forget()
    assert consul_env.api.get("/v1/health/service/web") == []
    with pytest.raises(ApiError, match="404"):
        consul_env.api.get("/v1/kv/a/b")


def test_state_survives_a_kill_and_not_a_wipe(tmp_path):
    with consul_agent(require("consul"), tmp_path / "consul", persistent=True, acl=True) as consul:
        address = consul.address
        consul.api.put("/v1/kv/team/key", "value")
        consul.kill()
        with pytest.raises(OSError, match="refused"):
            consul.api.get("/v1/kv/team/key?raw")
        consul.start()
        assert consul.api.get("/v1/kv/team/key?raw") == "value"
        assert_that_tokens_count(consul)
        consul.wipe()
        assert consul.address == address
        with pytest.raises(ApiError, match="404"):
            consul.api.get("/v1/kv/team/key")


def assert_that_tokens_count(consul):
    consul.policy("reader", 'key_prefix "team/" { policy = "read" }')
    reader = Api(consul.address, {"X-Consul-Token": consul.make_token("reader")})
    assert reader.get("/v1/kv/team/key?raw") == "value"
    with pytest.raises(ApiError, match="403"):
        reader.put("/v1/kv/team/key", "other")
    with pytest.raises(ApiError, match=r"403|404"):  # Consul hides what may not be read
        Api(consul.address).get("/v1/kv/team/key")
