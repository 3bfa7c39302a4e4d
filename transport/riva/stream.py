"""One recognition stream to Riva: audio in, results out, and the true reason when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, NoReturn, Self

import anyio
import grpc
import msgspec

from actors.speech.errors import BackendStalled, ConnectionFailed, SpeechError, StreamLost
from actors.speech.ports import Recognised, RecognitionConfig
from transport.riva.channel import Endpoint
from transport.riva.convert import FORCE_FINAL, Resampler, audio_request, read_results
from transport.riva.hints import Metadata
from transport.riva.progress import Progress
from transport.riva.pulse import Pulse
from transport.riva.status import Phase, is_lost, speech_error
from transport.riva.watch import Watch


class RivaStream:
    """A `RecognitionStream` on one gRPC call, made by `RivaBackend.open`. One task may send, one iterate.

    `send` passes on what it is given as one message; whoever calls it decides how much that is. Audio at
    another rate than the endpoint's is resampled, which holds back up to 50 ms until the next audio or
    `finish`; positions are those of the session's rate either way.

    A stream that ends without an error before `finish` has lost audio, so that is `StreamLost` as well. A
    stream that stays silent is cancelled by the `watch`, as `Progress` judges it, whose docstring says what is found
    and what is not; sooner if the endpoint's `pulse` is missing as well.

    The status of a failed call is noted when it arrives: grpc.aio replaces it with `Internal error from Core`
    when a write fails right after it, which is usual for a stream that is rejected while audio flows
    (grpc/grpc#36066). Where even so only that text is left of a stream that never answered, `diagnose` asks the
    endpoint by a call that keeps its status. One that did answer was lost, whatever the reason: no time is spent on it.
    """

    def __init__(
        self,
        start: Callable[[], Any],  # -> grpc.aio.StreamStreamCall[bytes, StreamingRecognizeResponse]
        config: RecognitionConfig,
        endpoint: Endpoint,
        watch: Watch,
        pulse: Pulse,
        *,
        diagnose: Callable[[], Awaitable[None]],
        on_failure: Callable[[], None],
    ) -> None:
        self._endpoint = endpoint
        self._diagnose = diagnose
        self._on_failure = on_failure
        self._results: list[Recognised] = []  # mostly one: a deque takes 0.7 KiB
        self._rate = config.sample_rate
        self._resampler = (
            Resampler(config.sample_rate, endpoint.sample_rate) if config.sample_rate != endpoint.sample_rate else None
        )
        self._phase = Phase.OPEN
        self._ending: _Ending | None = None
        self._closed = False
        self._answered = False
        self._stall = ""  # why the watch cancelled the call
        self._watch = watch
        self._pulse = pulse
        self._progress = Progress(
            config.sample_rate,
            first_answer=endpoint.first_answer_timeout,
            stall=endpoint.stall_timeout,
            finish=endpoint.finish_timeout,
            steady=watch.steady,
        )
        self._call = start()
        self._call.add_done_callback(self._note_ending)
        self._responses = aiter(self._call)

    async def begin(self, config: bytes) -> None:
        """Connect and write the first message.

        Raises:
            ConnectionFailed: also when that takes longer than the endpoint's `open_timeout`.
        """
        # Cancelling a write cancels the call, which is what a stream that cannot be opened deserves.
        with anyio.move_on_after(self._endpoint.open_timeout) as scope:
            await self._run(self._call.write(config))
        if scope.cancelled_caught:
            self._on_failure()
            raise ConnectionFailed(f"not open within {self._endpoint.open_timeout:g} s", endpoint=self._endpoint.name)
        self._watch.add(self._look)

    async def send(self, pcm: bytes) -> None:
        """Hand over PCM16 mono at the session's rate; waits while the endpoint takes no more."""
        if self._phase is Phase.DRAINING:
            raise RuntimeError("audio after finish")
        audio = pcm if self._resampler is None else self._resampler.push(pcm)
        if audio:
            await self._write(audio_request(audio), pcm)

    async def force_final(self) -> None:
        """Ask for the end of the utterance now; the stream stays open. Riva before 2.28 ignores it."""
        await self._write(FORCE_FINAL)

    async def finish(self) -> None:
        """No more audio. The remaining finals follow, then the iteration ends."""
        if self._phase is Phase.DRAINING:
            return
        if self._resampler is not None and (rest := self._resampler.flush()):
            await self._write(audio_request(rest))
        self._phase = Phase.DRAINING
        self._progress.finishing(self._watch.now)
        await self._run(self._call.done_writing())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Recognised:
        while not self._results:
            try:
                response = await anext(self._responses)
            except StopAsyncIteration:
                if self._ending is not None and self._ending.is_complete:
                    raise
                raise await self._failure() from None
            except _ENDS as end:
                await self._ended(end)
            self._results.extend(read_results(response, self._rate))
            self._note_answer()
        return self._results.pop(0)

    async def aclose(self) -> bool:
        """Cancel the call if it still runs. A call that is only dropped is never freed (grpc/grpc#43462).

        False when it must be drained to be freed.
        """
        self._closed = True
        self._watch.remove(self._look)
        self._call.cancel()
        if self._ending is not None and is_lost(self._ending.code, self._ending.text):
            return False
        with suppress(RuntimeError):  # another task is reading; the cancelled call ends that too
            await self._responses.aclose()
        return True

    async def drain(self) -> None:
        """Read what is left of a call that grpc.aio takes for ended and therefore does not cancel. After `aclose`.

        Core frees a call when its status is received, and gives that out after the last message only.
        """
        with anyio.move_on_after(_DRAIN_TIMEOUT, shield=True), suppress(*_CALL_ERRORS, RuntimeError):
            async for _ in self._responses:
                pass
        with suppress(RuntimeError):
            await self._responses.aclose()

    def _note_answer(self) -> None:
        last = self._results[-1] if self._results else None
        self._progress.answered(
            self._watch.now,
            has_words=any(result.text for result in self._results),
            is_final=last is not None and last.is_final,
        )
        self._answered = True
        self._watch.steady = self._watch.steady or self._progress.is_steady
        if self._phase is Phase.OPEN:
            self._phase = Phase.STREAMING

    async def _write(self, message: bytes, heard: bytes = b"") -> None:
        self._progress.sending(heard, self._watch.now)
        try:
            await self._call.write(message)
        except _ENDS as end:
            await self._ended(end)
        self._progress.sent()

    async def _run(self, operation: Awaitable[Any]) -> Any:
        """Await an operation of the call, and translate the call's end."""
        try:
            return await operation
        except _ENDS as end:
            await self._ended(end)

    async def _ended(self, end: BaseException) -> NoReturn:
        """Raise what ended an operation."""
        if not isinstance(end, asyncio.CancelledError):
            raise await self._failure() from end
        if is_being_cancelled():
            raise end
        raise await self._failure() from None  # only the call was cancelled: by the watchdog, or by a close

    async def _failure(self) -> SpeechError:
        """Why the call ended. The order is that of `transport.riva.status`."""
        if self._closed:
            return StreamLost("closed by us", endpoint=self._endpoint.name)
        self._on_failure()
        if self._stall:
            return BackendStalled(self._stall, endpoint=self._endpoint.name)
        ending = await self._true_ending()
        if ending is None or (is_lost(ending.code, ending.text) and not self._answered):
            try:
                await self._diagnose()
            except SpeechError as error:
                return error
        if ending is None or ending.code == "OK":
            return StreamLost("ended before the end of the audio", endpoint=self._endpoint.name)
        return speech_error(
            ending.code,
            ending.text,
            phase=self._phase,
            endpoint=self._endpoint.name,
            metadata=ending.metadata,
            secrets=self._endpoint.metadata.values(),
        )

    async def _true_ending(self) -> _Ending | None:
        """How the call ended. A failed write may be noticed before the status that explains it.

        grpc.aio tells of the first of the two only; so the call is asked again, until it knows the other.
        """
        for _ in range(_STATUS_LOOKS):
            if self._ending is not None and not is_lost(self._ending.code, self._ending.text):
                break
            await asyncio.sleep(_STATUS_PAUSE)
            self._note_ending(self._call)
        return self._ending

    def _note_ending(self, call: Any) -> None:
        """Keep the first status that says something. Called by grpc.aio the moment the first one arrives."""
        if self._ending is None or is_lost(self._ending.code, self._ending.text):
            self._ending = _ending(call, after_finish=self._phase is Phase.DRAINING)

    def _look(self) -> None:
        """Cancel a stream that has stalled."""
        if self._progress.is_idle:
            return
        if self._call.done():
            self._watch.remove(self._look)
            return
        self._stall = self._progress.stall_reason(self._watch.now) or self._hang_reason(self._watch.now)
        if self._stall:
            if not self._answered:
                self._watch.steady = False  # what was expected of it was perhaps too much
            self._call.cancel()

    def _hang_reason(self, now: float) -> str:
        """Half of the time is for the audio to be answered, the other half for the question as well."""
        timeout, waiting = self._endpoint.hang_timeout, self._progress.waiting(now)
        if waiting < timeout / 2 or self._pulse.missing(now, every=timeout / 2) < timeout / 2 or waiting < timeout:
            return ""
        return f"no answer for {waiting:.1f} s, neither to audio nor to a question"


def is_being_cancelled() -> bool:
    """Whether a `CancelledError` is meant for the running task, rather than the report of a cancelled call."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


_CALL_ERRORS = (grpc.aio.AioRpcError, grpc.aio.InternalError, asyncio.InvalidStateError)
_ENDS = (asyncio.CancelledError, *_CALL_ERRORS)
_DRAIN_TIMEOUT = 1.0  # the server has ended, so what is left is on this side already
# 0.3 s in all: the status travels in the packet that made the write fail, Core's threads may only swap them.
_STATUS_LOOKS = 30
_STATUS_PAUSE = 0.01


class _Ending(msgspec.Struct, frozen=True):
    """A call's final status, as it arrived."""

    code: str
    text: str
    metadata: Metadata
    after_finish: bool

    @property
    def is_complete(self) -> bool:
        """All audio was heard and answered."""
        return self.code == "OK" and self.after_finish


def _ending(call: Any, *, after_finish: bool) -> _Ending | None:
    if not call.done():
        return None
    return _Ending(
        code=_at_once(call.code()).name,
        text=_at_once(call.details()) or "",
        metadata=tuple(_at_once(call.trailing_metadata()) or ()),
        after_finish=after_finish,
    )


def _at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that has nothing to wait for, as a finished call's accessors have not."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise RuntimeError("the call has no status yet")
