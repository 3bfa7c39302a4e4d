"""The standard gRPC health service of an endpoint, on the copy of its protocol that Riva's client brings."""

from __future__ import annotations

import asyncio

import grpc
from riva.client.proto import health_pb2 as pb

from actors.speech.errors import BackendNotReady, ConnectionFailed
from transport.riva.channel import Endpoint
from transport.riva.status import Phase, speech_error
from transport.riva.stream import is_being_cancelled

_SERVING = pb.HealthCheckResponse.SERVING
_NO_SUCH_SERVICE = (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND)


class Health:
    """Asks an endpoint's health service. One that has none is not asked again, until `forget`."""

    def __init__(self) -> None:
        self._is_there = True

    async def check(self, channel: grpc.aio.Channel, endpoint: Endpoint) -> None:
        """Return if the endpoint serves, or has no health service.

        Raises:
            BackendNotReady: it says that it does not serve.
            SpeechError: it does not answer within `probe_timeout`, or refuses.
        """
        if not self._is_there:
            return
        ask = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=pb.HealthCheckRequest.SerializeToString,
            response_deserializer=pb.HealthCheckResponse.FromString,
        )
        metadata = tuple(endpoint.metadata.items())
        try:
            answer = await ask(pb.HealthCheckRequest(), metadata=metadata, timeout=endpoint.probe_timeout)
        except grpc.aio.AioRpcError as exc:
            if exc.code() in _NO_SUCH_SERVICE:
                self._is_there = False
                return
            raise speech_error(
                exc.code().name,
                exc.details() or "",
                phase=Phase.PROBE,
                endpoint=endpoint.name,
                metadata=tuple(exc.trailing_metadata() or ()),
                secrets=endpoint.metadata.values(),
            ) from exc
        except asyncio.CancelledError:
            if is_being_cancelled():
                raise
            raise ConnectionFailed("closed by us", endpoint=endpoint.name) from None
        if answer.status != _SERVING:
            raise BackendNotReady("its health service says that it does not serve", endpoint=endpoint.name)

    def forget(self) -> None:
        """Something is wrong there; what comes back may have a health service."""
        self._is_there = True
