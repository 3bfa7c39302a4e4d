"""The standard gRPC health service, on the copy of its protocol that Riva's client brings.

Importing the one of grpcio-health-checking as well would register the same protobuf file twice, which fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import grpc
from riva.client.proto import health_pb2 as pb

from actors.speech.errors import InvalidMessage
from transport.grpc_door.requests import parsed

SERVICES = ("", "nvidia.riva.asr.RivaSpeechRecognition")
LOOK_SECONDS = 0.5  # between two looks at whether what a watcher was told still holds

_Response = pb.HealthCheckResponse
_SERVICE_UNKNOWN = 3  # health.proto has it since 2019; Riva's copy is older, and keeps the number all the same


class Health:
    """SERVING while `ready()`, until `stop`."""

    def __init__(self, ready: Callable[[], bool]) -> None:
        self._ready = ready
        self._stopping = asyncio.Event()

    def handler(self) -> grpc.GenericRpcHandler:
        """What a server adds to its own."""
        return grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health",
            {
                "Check": grpc.unary_unary_rpc_method_handler(
                    self._check, response_serializer=_Response.SerializeToString
                ),
                "Watch": grpc.unary_stream_rpc_method_handler(
                    self._watch, response_serializer=_Response.SerializeToString
                ),
            },
        )

    def stop(self) -> None:
        """From now on NOT_SERVING; watchers are told, and their calls end."""
        self._stopping.set()

    async def _check(self, message: bytes, context: Any) -> Any:
        if await self._service(message, context) not in SERVICES:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return _Response(status=self._status())

    async def _watch(self, message: bytes, context: Any) -> None:
        is_known = await self._service(message, context) in SERVICES
        told = None
        while True:
            is_last = self._stopping.is_set()
            status = self._status() if is_known else _SERVICE_UNKNOWN
            if status != told:
                await context.write(_Response(status=status))
                told = status
            if is_last:
                return
            with anyio.move_on_after(LOOK_SECONDS):
                await self._stopping.wait()

    async def _service(self, message: bytes, context: Any) -> str:
        try:
            return str(parsed(pb.HealthCheckRequest, message).service)
        except InvalidMessage as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.detail)
            raise

    def _status(self) -> int:
        serves = self._ready() and not self._stopping.is_set()
        return int(_Response.SERVING if serves else _Response.NOT_SERVING)
