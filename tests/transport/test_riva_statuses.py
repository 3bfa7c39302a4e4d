"""Each of gRPC's failures, from a real server, at every moment of a stream: which error, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from enum import Enum
from typing import Any

import anyio
import grpc
import msgspec
import pytest
from riva.client.proto import riva_asr_pb2 as pb

from actors.speech import errors
from actors.speech.errors import SpeechError
from actors.speech.policies import SESSION_POLICIES
from actors.speech.ports import RecognitionConfig
from supervisor.policy import Directive
from tests.transport.riva_server import Requests, RivaServer, Script, final, interim, reject
from transport.riva import RivaBackend, RivaStream
from transport.riva import stream as stream_module

pytestmark = pytest.mark.anyio

CONFIG = RecognitionConfig()
SPEECH = b"\x00\x20\x00\xe0" * 800  # 100 ms, and audible


@pytest.fixture
async def server() -> AsyncIterator[RivaServer]:
    async with RivaServer() as server:
        yield server
        with anyio.fail_after(5):
            await server.idle.wait()


class Moment(Enum):
    """When the server ends the stream."""

    OPEN = "on reading the config"
    STREAMING = "after an interim"
    FINAL = "after a final"
    DRAINING = "after the last final, when all audio was sent"


DIRECTIVES = {  # every other failure leads to a new stream, at once or after a growing pause
    errors.ConfigRejected: Directive.STOP,
    errors.ModelNotFound: Directive.STOP,
}
FAILURES: dict[grpc.StatusCode, tuple[type[SpeechError], type[SpeechError]]] = {  # at OPEN, later
    grpc.StatusCode.CANCELLED: (errors.StreamLost, errors.StreamLost),
    grpc.StatusCode.UNKNOWN: (errors.UnclassifiedError, errors.UnclassifiedError),
    grpc.StatusCode.INVALID_ARGUMENT: (errors.ConfigRejected, errors.ConfigRejected),
    grpc.StatusCode.DEADLINE_EXCEEDED: (errors.ConnectionFailed, errors.BackendStalled),
    grpc.StatusCode.NOT_FOUND: (errors.ModelNotFound, errors.UnclassifiedError),
    grpc.StatusCode.ALREADY_EXISTS: (errors.UnclassifiedError, errors.UnclassifiedError),
    grpc.StatusCode.PERMISSION_DENIED: (errors.NotAuthorized, errors.NotAuthorized),
    grpc.StatusCode.UNAUTHENTICATED: (errors.NotAuthorized, errors.NotAuthorized),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (errors.QuotaExceeded, errors.QuotaExceeded),
    grpc.StatusCode.FAILED_PRECONDITION: (errors.ConfigRejected, errors.ConfigRejected),
    grpc.StatusCode.ABORTED: (errors.UnclassifiedError, errors.UnclassifiedError),
    grpc.StatusCode.OUT_OF_RANGE: (errors.ConfigRejected, errors.ConfigRejected),
    grpc.StatusCode.UNIMPLEMENTED: (errors.WrongEndpoint, errors.WrongEndpoint),
    grpc.StatusCode.INTERNAL: (errors.InferenceFailed, errors.InferenceFailed),
    grpc.StatusCode.UNAVAILABLE: (errors.ConnectionFailed, errors.StreamLost),
    grpc.StatusCode.DATA_LOSS: (errors.UnclassifiedError, errors.UnclassifiedError),
}
WORDS = "words of the server's own"


def ending(code: grpc.StatusCode, moment: Moment) -> Script:
    async def script(requests: Requests, context: Any) -> AsyncIterator[pb.StreamingRecognizeResponse]:
        async for request in requests:
            if moment is Moment.OPEN:
                await context.abort(code, WORDS)
            if request.audio_content and moment is not Moment.DRAINING:
                yield interim("so far") if moment is Moment.STREAMING else final("all said")
                await context.abort(code, WORDS)
        yield final("all said")
        await context.abort(code, WORDS)

    return script


async def use(stream: RivaStream, moment: Moment) -> None:
    await stream.send(SPEECH)
    if moment is Moment.DRAINING:
        await stream.finish()
    async for _ in stream:
        pass


def test_no_failure_of_grpc_is_left_out() -> None:
    assert set(FAILURES) == set(grpc.StatusCode) - {grpc.StatusCode.OK}
    assert len(FAILURES) == 16


@pytest.mark.parametrize("moment", Moment, ids=lambda moment: moment.name)
@pytest.mark.parametrize("code", FAILURES, ids=lambda code: code.name)
async def test_a_failure_is_read_right_whenever_it_comes(
    server: RivaServer, code: grpc.StatusCode, moment: Moment
) -> None:
    server.script = ending(code, moment)
    async with RivaBackend(server.endpoint()) as backend:
        with pytest.raises(SpeechError) as caught:
            async with backend.open(CONFIG, label="s") as stream:
                await use(stream, moment)
    expected = FAILURES[code][0 if moment is Moment.OPEN else 1]
    facts = (type(caught.value), caught.value.grpc_code, caught.value.backend_detail)
    assert facts == (expected, code.name, WORDS)
    assert SESSION_POLICIES.lookup(caught.value).directive is DIRECTIVES.get(expected, Directive.BACKOFF)


# ---- a status that grpc.aio has lost


@pytest.fixture
def statuses_of_streams_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens to some of the streams that end while they are written to, happens to all (grpc/grpc#36066)."""
    true_ending = stream_module._ending

    def lost_ending(call: Any, *, after_finish: bool) -> Any:
        found = true_ending(call, after_finish=after_finish)
        lost = {"code": "INTERNAL", "text": "Internal error from Core", "metadata": ()}
        return found and msgspec.structs.replace(found, **lost)

    monkeypatch.setattr(stream_module, "_ending", lost_ending)
    monkeypatch.setattr(stream_module, "_STATUS_PAUSE", 0.0)


@pytest.mark.usefixtures("statuses_of_streams_are_lost")
@pytest.mark.parametrize("code", FAILURES, ids=lambda code: code.name)
async def test_the_true_status_of_a_rejected_stream_is_asked_for(server: RivaServer, code: grpc.StatusCode) -> None:
    server.script = reject(grpc.StatusCode.ABORTED, "this one is lost")
    async with RivaBackend(server.endpoint()) as backend:
        await backend.models()
        server.refusal = (code, WORDS)
        with pytest.raises(SpeechError) as caught:
            async with backend.open(CONFIG, label="s") as stream:
                await use(stream, Moment.OPEN)
    facts = (type(caught.value), caught.value.grpc_code, caught.value.backend_detail)
    assert facts == (FAILURES[code][0], code.name, WORDS)
    assert server.questions == 2


@pytest.mark.usefixtures("statuses_of_streams_are_lost")
@pytest.mark.parametrize(("models", "error"), [(None, errors.StreamLost), ({}, errors.BackendNotReady)])
async def test_an_endpoint_that_answers_well_has_only_lost_the_stream(
    server: RivaServer, models: dict[str, dict[str, str]] | None, error: type[SpeechError]
) -> None:
    server.script = reject(grpc.StatusCode.ABORTED, "this one is lost", after=2)
    async with RivaBackend(server.endpoint()) as backend:
        with pytest.raises(error):  # noqa: PT012
            async with backend.open(CONFIG, label="s") as stream:
                server.models = server.models if models is None else models
                await use(stream, Moment.OPEN)
    assert server.questions == 2


async def test_a_stream_that_we_close_is_no_failure_of_its_backend(server: RivaServer) -> None:
    async with RivaBackend(server.endpoint()) as backend:
        async with backend.open(CONFIG, label="s") as stream:
            await stream.send(SPEECH)
            await anext(stream)
            reader = asyncio.create_task(anext(stream))
            await anyio.wait_all_tasks_blocked()
        with pytest.raises(errors.StreamLost, match="closed by us"):
            await reader
        async with backend.open(CONFIG, label="s") as stream:
            await stream.finish()
            assert [result.text async for result in stream] == ["0 chunks"]
    assert server.questions == 1  # what the backend can do is still believed
