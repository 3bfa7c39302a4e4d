"""Riva's own gRPC protocol, in front of sessions: a Riva client needs nothing but another address."""

from transport.grpc_door.door import GrpcDoor

__all__ = ["GrpcDoor"]
