"""NVIDIA Riva as a backend of speech sessions, over grpc.aio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import grpc
from riva.client.proto import riva_asr_pb2 as pb

from actors.speech.errors import BackendNotReady, ConnectionFailed, SpeechError
from actors.speech.ports import RecognitionConfig
from transport.riva.channel import Endpoint, connect, connection, credentials
from transport.riva.convert import config_request
from transport.riva.health import Health
from transport.riva.preflight import Models, Preflight, read_models
from transport.riva.pulse import Pulse
from transport.riva.status import Phase, speech_error
from transport.riva.stream import RivaStream, is_being_cancelled
from transport.riva.watch import Watch


class RivaBackend:
    """One Riva endpoint, as `actors.speech.ports.RecognitionBackend` wants it.

    Holds one channel, which is made with the first call and reconnects by itself; so a backend needs no
    connection to come into being, and must be used from one event loop. `aclose`, or leaving `async with`,
    ends its streams.

    Every stream is preceded by the unary question what the endpoint can recognise, remembered for a while and
    forgotten with every failure. It costs a new session nothing in the usual case, tells a missing language
    before any audio is sent, and finds out about wrong keys and spent quotas in a call whose status cannot be
    lost.

    Raises:
        ValueError: when the endpoint's certificate files cannot be used.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        if endpoint.tls:
            credentials(endpoint)  # a bad file should stop the start, not the first session
        self._connection = connection(endpoint)
        self._channel: grpc.aio.Channel | None = None
        self._health = Health()
        self._watch = Watch()
        self._pulse = Pulse(self._says_anything)
        self._drains: set[asyncio.Task[None]] = set()
        self._preflight = Preflight(self._ask_models, max_age=endpoint.models_max_age)
        self._use(endpoint)

    @asynccontextmanager
    async def open(self, config: RecognitionConfig, *, label: str) -> AsyncIterator[RivaStream]:
        """Open a stream; leaving the context cancels it.

        The config is written before this returns, and audio may follow at once: nothing waits for the
        endpoint's consent, which Riva does not give. A rejection surfaces from the next `send` or iteration.

        Raises:
            SpeechError: also from sending and iterating; `ModelNotFound` at once when the endpoint has none.
        """
        model = config.model or self.endpoint.model
        (await self.models()).require(config.language, model, endpoint=self.name)
        first = config_request(config, sample_rate=self.endpoint.sample_rate, model=model, label=label)
        stream = RivaStream(
            self._start_call,
            config,
            self.endpoint,
            self._watch,
            self._pulse,
            diagnose=self._require_models,
            on_failure=self._preflight.forget,
        )
        try:
            await stream.begin(first)
            yield stream
        finally:
            if not await stream.aclose():
                self._drain(stream)

    async def models(self, *, fresh: bool = False) -> Models:
        """What the endpoint can recognise; asked anew after a failure, or if a `fresh` answer is wanted.

        Raises:
            SpeechError: when it does not answer within `probe_timeout`, or refuses.
        """
        try:
            answer = await self._preflight.get(fresh=fresh)
        except asyncio.CancelledError:
            if is_being_cancelled():
                raise
            raise ConnectionFailed("closed by us", endpoint=self.name) from None
        if isinstance(answer, Models):
            return answer
        raise speech_error(
            answer.code().name,
            answer.details() or "",
            phase=Phase.PROBE,
            endpoint=self.name,
            metadata=tuple(answer.trailing_metadata() or ()),
            secrets=self.endpoint.metadata.values(),
        ) from answer

    async def probe(self) -> None:
        """Ask the endpoint whether it could take a stream: its health service, if it has one, then what it has loaded.

        Raises:
            SpeechError: as `models`; `BackendNotReady` when it says that it does not serve, or has nothing loaded.
        """
        await self._health.check(self._connected(), self.endpoint)
        try:
            await self._require_models()
        except SpeechError:
            self._health.forget()
            raise

    async def connections(self) -> AsyncIterator[bool]:
        """True each time a connection to the endpoint is made, False when it is lost. Keeps connecting; never ends."""
        was_ready = False
        while True:
            # Looked at, not waited for: a wait that is cancelled stays in Core, which goes on to report to its event
            # loop when that is long closed. A look costs microseconds.
            state = self._connected().get_state(try_to_connect=True)
            if (state is grpc.ChannelConnectivity.READY) is not was_ready:
                was_ready = not was_ready
                yield was_ready
            await asyncio.sleep(_LOOK_EVERY)

    def fits(self, endpoint: Endpoint) -> bool:
        """Whether these settings can be used on the connection that this backend has.

        Raises:
            ValueError: when a certificate file of theirs cannot be read.
        """
        same = (self.endpoint.name, self.endpoint.models_max_age) == (endpoint.name, endpoint.models_max_age)
        return same and self._connection == connection(endpoint)

    def adopt(self, endpoint: Endpoint) -> None:
        """Use other settings, which `fits`, from the next stream and question on."""
        self._preflight.forget()
        self._use(endpoint)

    async def aclose(self) -> None:
        """Close the channel; streams still open end with `StreamLost`. It may be used again afterwards."""
        await self._pulse.aclose()
        await self._preflight.aclose()
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()
        if self._drains:
            await asyncio.wait(self._drains)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _drain(self, stream: RivaStream) -> None:
        """Free a broken call, which may take a moment; whoever used it has better things to do than to wait."""
        task = asyncio.create_task(stream.drain())
        self._drains.add(task)
        task.add_done_callback(self._drains.discard)

    def _use(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.name = endpoint.name
        self.tier = endpoint.tier
        self.max_streams = endpoint.max_streams
        self.catch_up = endpoint.catch_up
        self.max_stream_age = endpoint.max_stream_age
        self.step = endpoint.step
        self.quota_key = endpoint.quota_key or endpoint.name
        self._metadata = tuple(endpoint.metadata.items())

    async def _says_anything(self) -> bool:
        answer = await self._preflight.get(fresh=True)
        return isinstance(answer, Models) or answer.code() not in _OUR_OWN

    async def _require_models(self) -> None:
        models = await self.models(fresh=True)
        if not models.models:
            raise BackendNotReady("no model is loaded", endpoint=self.name)

    def _start_call(self) -> Any:
        # Not through the stub: requests are handed over as bytes, serialised by `convert`.
        start = self._connected().stream_stream(
            "/nvidia.riva.asr.RivaSpeechRecognition/StreamingRecognize",
            response_deserializer=pb.StreamingRecognizeResponse.FromString,
        )
        return start(metadata=self._metadata)

    async def _ask_models(self) -> Models | grpc.aio.AioRpcError:
        ask = self._connected().unary_unary(
            "/nvidia.riva.asr.RivaSpeechRecognition/GetRivaSpeechRecognitionConfig",
            request_serializer=pb.RivaSpeechRecognitionConfigRequest.SerializeToString,
            response_deserializer=pb.RivaSpeechRecognitionConfigResponse.FromString,
        )
        request = pb.RivaSpeechRecognitionConfigRequest()
        try:
            return read_models(await ask(request, metadata=self._metadata, timeout=self.endpoint.probe_timeout))
        except grpc.aio.AioRpcError as exc:
            return exc

    def _connected(self) -> grpc.aio.Channel:
        if self._channel is None:
            self._channel = connect(self.endpoint)
        return self._channel


_OUR_OWN = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)  # statuses of calls that nobody answered
_LOOK_EVERY = 0.1  # seconds; a connection is to be seen to be lost before the next session wants it
