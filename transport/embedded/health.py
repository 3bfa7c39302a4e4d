"""The standard gRPC health service, on the copy of its protocol that Riva's client brings.

Importing the one of grpcio-health-checking as well would register the same protobuf file twice, which fails.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from riva.client.proto import health_pb2
from riva.client.proto.health_pb2_grpc import HealthServicer

SERVICES = ("", "nvidia.riva.asr.RivaSpeechRecognition")
_Status = health_pb2.HealthCheckResponse.ServingStatus


class HealthService(HealthServicer):  # type: ignore[misc]
    """SERVING until `stopping`."""

    def __init__(self) -> None:
        self._stopping = asyncio.Event()

    def stopping(self) -> None:
        """From now on NOT_SERVING; watchers are told, and their streams end."""
        self._stopping.set()

    async def Check(self, request: Any, context: Any) -> Any:
        if request.service not in SERVICES:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"unknown service {request.service!r}")
        return self._response()

    async def Watch(self, request: Any, context: Any) -> None:
        if request.service not in SERVICES:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"unknown service {request.service!r}")
        await context.write(self._response())
        if not self._stopping.is_set():
            await self._stopping.wait()
            await context.write(self._response())

    def _response(self) -> Any:
        stopped = self._stopping.is_set()
        return health_pb2.HealthCheckResponse(status=_Status.NOT_SERVING if stopped else _Status.SERVING)
