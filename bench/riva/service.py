"""Riva's speech recognition and gRPC's health checking, as a plan has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from riva.client.proto import health_pb2
from riva.client.proto import riva_asr_pb2 as pb
from riva.client.proto.health_pb2_grpc import HealthServicer
from riva.client.proto.riva_asr_pb2_grpc import RivaSpeechRecognitionServicer

from bench.riva.faults import Stall, Status
from bench.riva.plan import Plan
from bench.riva.report import Counts
from bench.riva.responses import model_config
from bench.riva.script import Script
from bench.riva.settings import Settings
from bench.riva.statuses import Refused, unavailable_model
from bench.riva.stream import Host, Places, ScriptedStream

_Health = health_pb2.HealthCheckResponse
_HEALTH_LOOK = 0.1  # seconds between two looks at whether the health of a watcher has changed


class RivaService(RivaSpeechRecognitionServicer):  # type: ignore[misc]
    """Streams and questions for one server. Unary recognition is not implemented."""

    def __init__(self, plan: Plan, script: Script, counts: Counts, host: Host) -> None:
        self._plan = plan
        self._script = script
        self._counts = counts
        self._host = host
        self._places = Places(counts)

    async def StreamingRecognize(self, requests: AsyncIterator[Any], context: Any) -> None:
        self._counts.opened += 1
        ended, refused = "CANCELLED", None
        try:
            await self._stream(requests, context)
            ended = "OK"
        except Refused as refusal:
            ended, refused = refusal.code.name, refusal
        finally:
            self._counts.ended[ended] += 1
        if refused is not None:
            await context.abort(refused.code, refused.text, refused.trailers)

    async def GetRivaSpeechRecognitionConfig(self, request: Any, context: Any) -> Any:
        self._counts.questions += 1
        now = asyncio.get_running_loop().time()
        match self._script.question(now):
            case Status() as fault:
                refused = fault.refusal()
                await context.abort(refused.code, refused.text, refused.trailers)
            case Stall(seconds=seconds):
                await (asyncio.Event().wait() if seconds is None else asyncio.sleep(seconds))
        known = request.model_name in ("", self._plan.model) and self._script.is_ready(now)
        return pb.RivaSpeechRecognitionConfigResponse(model_config=[model_config(self._plan)] if known else [])

    async def _stream(self, requests: AsyncIterator[Any], context: Any) -> None:
        first = await anext(aiter(requests), None)
        if first is None:
            return
        settings = Settings(first, self._plan)
        now = asyncio.get_running_loop().time()
        if not self._script.is_ready(now):
            raise unavailable_model(first.streaming_config.config.language_code, settings.rate)
        script = self._script.stream(now, served=self._counts.served)
        stream = ScriptedStream(settings, self._plan, script, self._host, self._places, self._counts, context)
        await stream.converse(first.id if first.HasField("id") else None, requests)


class HealthService(HealthServicer):  # type: ignore[misc]
    """SERVING while there is a model."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def Check(self, request: Any, context: Any) -> Any:
        return _Health(status=self._status())

    async def Watch(self, request: Any, context: Any) -> None:
        told = None
        while True:
            if (status := self._status()) != told:
                await context.write(_Health(status=status))
                told = status
            await asyncio.sleep(_HEALTH_LOOK)

    def _status(self) -> int:
        ready = self._script.is_ready(asyncio.get_running_loop().time())
        return int(_Health.SERVING if ready else _Health.NOT_SERVING)
