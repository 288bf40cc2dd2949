"""The gateway that speaks gRPC."""
