"""The process of a gateway that speaks gRPC."""

from __future__ import annotations

from serving.channel import Channel
from serving.gateway.process import run


def main(channel: Channel) -> None:
    """Be a gateway that speaks gRPC until the supervisor says Close or goes away."""
    # Not at the top: this module is loaded before the fork, and gRPC's library must not be.
    from serving.gateway.rpc.server import RpcServer

    run(channel, RpcServer)
