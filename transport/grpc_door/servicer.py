"""Riva's speech recognition service, each call of it a session."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn
from urllib.parse import unquote

import grpc
from riva.client.proto import riva_asr_pb2 as pb

from actors.speech.error_handler import ErrorHandler
from actors.speech.errors import ClientDisconnected, GoingAway, InvalidMessage
from actors.speech.messages import Ready, SessionEvent
from transport.admission import Admission, Caller, Refused, is_session_id
from transport.grpc_door.call import Call, Tell, refusal
from transport.grpc_door.requests import Requests, Streaming, Whole, parsed
from transport.grpc_door.responses import Responses, in_one
from transport.grpc_door.status import Status
from transport.limits.accounts import Pace
from transport.riva.preflight import Model
from transport.sessions import Sessions
from transport.wire.port import Limits, Request

SERVICE = "nvidia.riva.asr.RivaSpeechRecognition"
NAME = "voxtree-session-id"  # metadata: of the request, what the client calls its session; of the answer, its id
BREAK_SECONDS = 0.005  # a few turns of the loop, which gRPC takes from a call's end to the cancellation

Models = Callable[[], Awaitable[Iterable[Model]]]
Write = Callable[[pb.StreamingRecognizeResponse], Awaitable[None]]


class RivaServicer:
    """The three calls of the service, taken as bytes: what is no message of theirs is refused like any other.

    Args:
        models: what the backends have loaded.
        write_timeout: seconds that a client may leave a response unread.
        on_refused: told why a call was refused before there was a session.

    Attributes:
        calls: those that run, and what runs them.
        limits: of a call; may be replaced, and holds from the next call on.
    """

    def __init__(
        self,
        sessions: Sessions,
        errors: ErrorHandler,
        models: Models,
        limits: Limits,
        admission: Admission,
        *,
        write_timeout: float,
        on_refused: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self.calls: dict[Call, asyncio.Task[Any] | None] = {}
        self.limits = limits
        self._sessions = sessions
        self._errors = errors
        self._models = models
        self._admission = admission
        self._write_timeout = write_timeout
        self._on_refused = on_refused
        self._draining = False

    def handler(self) -> grpc.GenericRpcHandler:
        """What a server adds to its own."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "StreamingRecognize": grpc.stream_stream_rpc_method_handler(
                    self._stream, response_serializer=pb.StreamingRecognizeResponse.SerializeToString
                ),
                "Recognize": grpc.unary_unary_rpc_method_handler(
                    self._recognise, response_serializer=pb.RecognizeResponse.SerializeToString
                ),
                "GetRivaSpeechRecognitionConfig": grpc.unary_unary_rpc_method_handler(
                    self._config, response_serializer=pb.RivaSpeechRecognitionConfigResponse.SerializeToString
                ),
            },
        )

    def open(self) -> None:
        """Take calls, again."""
        self._draining = False

    def drain(self, seconds: float) -> None:
        """Let running calls have the words for what they said; none begins any more."""
        if self._draining:
            return
        self._draining = True
        for call in tuple(self.calls):
            call.drain(seconds)

    def send_away(self) -> None:
        """End the calls that still run; none begins any more."""
        self._draining = True
        for call in tuple(self.calls):
            call.go_away()

    async def ended(self, seconds: float) -> None:
        """Wait until no call runs, so long at most."""
        if tasks := [task for task in self.calls.values() if task is not None]:
            await asyncio.wait(tasks, timeout=seconds)

    # ---- the calls

    async def _stream(self, messages: AsyncIterator[bytes], context: Any) -> None:
        await self._converse(
            _to_the_end(messages), Streaming(self.limits.max_chunk_bytes), context, write=context.write
        )

    async def _recognise(self, message: bytes, context: Any) -> pb.RecognizeResponse:
        requests = Whole()
        said: list[pb.StreamingRecognizeResponse] = []

        async def keep(response: pb.StreamingRecognizeResponse) -> None:
            said.append(response)

        await self._converse(_once(message), requests, context, write=keep)
        return in_one(said, requests.request_id)

    async def _config(self, message: bytes, context: Any) -> pb.RivaSpeechRecognitionConfigResponse:
        caller = self._admission.admit(_asked(context), _address(context), for_session=False)
        if isinstance(caller, Refused):
            await _abort(context, refusal(caller.error, self._errors))
        try:
            asked = parsed(pb.RivaSpeechRecognitionConfigRequest, message)
            models = await self._models()
        except Exception as error:  # a defect too is reported and told as one
            await _abort(context, refusal(error, self._errors))
        loaded = [model for model in models if asked.model_name in ("", model.name)]
        return pb.RivaSpeechRecognitionConfigResponse(
            model_config=[
                pb.RivaSpeechRecognitionConfigResponse.Config(model_name=model.name, parameters=model.parameters)
                for model in loaded
            ]
        )

    # ---- what they share

    async def _converse(self, messages: AsyncIterator[bytes], requests: Requests, context: Any, write: Write) -> None:
        """Return when all was said; else end the call with the status that says why."""
        responses = Responses(requests)

        async def tell(event: SessionEvent) -> None:
            if isinstance(event, Ready):
                await _written(context.send_initial_metadata(_first_metadata(event, requests)))
            if (response := responses.response(event)) is not None:
                await _written(write(response))

        status = await self._conversation(messages, requests, tell, context)
        if status is not None:
            await _abort(context, status, responses.gaps)
        context.set_trailing_metadata(tuple(responses.gaps))

    async def _conversation(
        self, messages: AsyncIterator[bytes], requests: Requests, tell: Tell, context: Any
    ) -> Status | None:
        if self._draining:
            return refusal(GoingAway(), self._errors)
        asked = _asked(context)
        session_id = asked.header(NAME) or str(uuid.uuid4())
        caller = self._admission.admit(asked, _address(context), session_id)
        if isinstance(caller, Refused):
            self._on_refused(caller.reason)
            return refusal(caller.error, self._errors)
        if not is_session_id(session_id):
            return refusal(InvalidMessage(f"{NAME}: 1 to 128 of A-Z a-z 0-9 . _ ~ -"), self._errors)
        with self._admission.present(caller, session_id) as pace, self._call(session_id, caller, pace) as call:
            return await call.run(messages, requests, tell)

    @contextmanager
    def _call(self, session_id: str, caller: Caller, pace: Pace | None) -> Iterator[Call]:
        call = Call(
            session_id,
            caller,
            self._sessions,
            self._errors,
            pace=pace,
            idle_timeout=self.limits.idle_timeout,
            write_timeout=self._write_timeout,
        )
        self.calls[call] = asyncio.current_task()
        try:
            yield call
        finally:
            del self.calls[call]


def _asked(context: Any) -> Request:
    """A call as the request that it is: its metadata are HTTP/2's headers."""
    headers: dict[str, list[str]] = {}
    for name, value in context.invocation_metadata() or ():
        headers.setdefault(name, []).append(value if isinstance(value, str) else "")  # `…-bin` is of no use here
    return Request(path=SERVICE, headers=headers)


def _address(context: Any) -> str:
    """Of the machine at the other end; empty: unknown. gRPC has it as `ipv4:127.0.0.1:5000`, `ipv6:%5B::1%5D:5000`."""
    family, _, rest = unquote(context.peer()).partition(":")
    return rest.rpartition(":")[0].strip("[]") if family in ("ipv4", "ipv6") else ""


def _first_metadata(ready: Ready, requests: Requests) -> tuple[tuple[str, str], ...]:
    """What a call is told first: its session's id, for whoever asks an operator, and what has no effect."""
    ignored = (("voxtree-ignored", ",".join(requests.ignored)),) if requests.ignored else ()
    return ((NAME, ready.session_id), *ignored)


async def _to_the_end(messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The messages. Where a call breaks off they end as if its client had, and the cancellation comes just after it: it
    is let go first, so that nothing is made of an end that was none.
    """
    async for message in messages:
        yield message
    await asyncio.sleep(BREAK_SECONDS)


async def _once(message: bytes) -> AsyncIterator[bytes]:
    yield message


async def _written(work: Awaitable[None]) -> None:
    """Wait until something is written.

    Raises:
        ClientDisconnected: nobody is there to read it. It may be known before gRPC cancels the call.
    """
    try:
        await work
    except grpc.aio.BaseError as exc:
        raise ClientDisconnected("its call has ended") from exc


async def _abort(context: Any, status: Status, gaps: Sequence[tuple[str, str]] = ()) -> NoReturn:
    """End a call. Where its client reads nothing this waits until it does, or is gone: gRPC has no other way."""
    try:
        await context.abort(status.code, status.text, (*status.metadata, *gaps))
    except grpc.aio.InternalError as exc:
        raise asyncio.CancelledError("its client has gone") from exc
    raise AssertionError("abort always raises")
