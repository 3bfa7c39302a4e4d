"""Channels, watchers and the pool over real Riva servers on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import pairwise
from typing import Any

import anyio
import grpc
import pytest
from riva.client.proto import riva_asr_pb2 as pb

from actors.speech.backends.events import (
    BackendDown,
    BackendDrained,
    BackendJoined,
    BackendLeft,
    BackendState,
    BackendUp,
    Health,
    PoolEvent,
)
from actors.speech.errors import BackendNotReady, ConnectionFailed, NotAuthorized, SpeechError
from actors.speech.ports import Recognised, RecognitionConfig, Tier
from supervisor.tree import Supervisor
from tests.transport.riva_server import ENGLISH, NOT_SERVING, SERVING, Requests, RivaServer, mute
from transport.backends import Backends, Changes
from transport.riva import Endpoint, RivaBackend

pytestmark = pytest.mark.anyio

CONFIG = RecognitionConfig(sample_rate=16000)
SPEECH = b"\x00\x10" * 1600
PATIENCE = 20  # seconds; only a hang takes so long


class Watched:
    """The backends of a server, and what happened to them."""

    def __init__(self, *endpoints: Endpoint) -> None:
        self.events: list[PoolEvent] = []
        self._changed = asyncio.Condition()
        self.backends = Backends(endpoints, lambda: self.tree.value("backends"), self._heard)
        self.pool = self.backends.pool
        self.tree = Supervisor([self.backends.child()])

    def _heard(self, event: PoolEvent) -> None:
        self.events.append(event)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds."""
        with anyio.fail_after(PATIENCE):
            while not holds():  # noqa: ASYNC110  (several things change it, and nothing tells of all of them)
                await asyncio.sleep(0.005)

    async def until_told(self, event: type[PoolEvent], name: str, times: int = 1) -> None:
        await self.until(lambda: sum(isinstance(one, event) and one.name == name for one in self.events) >= times)

    def state(self, name: str) -> BackendState:
        return next(state for state in self.pool.snapshot().backends if state.name == name)

    async def next_backend(self, session: str = "s") -> str:
        async with self.pool.lease(session, CONFIG, on_wait=lambda: None) as lease:
            return lease.backend.name


@asynccontextmanager
async def watched(*endpoints: Endpoint) -> AsyncGenerator[Watched, None]:
    watched = Watched(*endpoints)
    async with watched.tree:
        yield watched


async def test_a_server_that_dies_is_left_before_a_session_meets_it_and_its_return_is_seen() -> None:
    async with RivaServer() as spare, AsyncExitStack() as alive:
        first = await alive.enter_async_context(RivaServer())
        endpoints = (first.endpoint(name="first"), spare.endpoint(name="spare", tier=Tier.FALLBACK))
        async with watched(*endpoints) as pool:
            await pool.until_told(BackendUp, "first")
            await pool.until_told(BackendUp, "spare")
            assert await pool.next_backend("a") == "first"
            await alive.aclose()
            await pool.until(lambda: pool.state("first").health is Health.SUSPECT)
            assert await pool.next_backend("b") == "spare"
            await pool.until_told(BackendDown, "first")
            async with RivaServer(port=first.port):
                await pool.until_told(BackendUp, "first", times=2)
                assert await pool.next_backend("c") == "first"


async def test_a_server_that_says_it_does_not_serve_gets_no_streams_until_it_does() -> None:
    async with RivaServer(health=NOT_SERVING) as server, watched(server.endpoint()) as pool:
        await pool.until_told(BackendDown, "riva")
        assert pool.state("riva").last_code == "RIVA_007"
        assert server.questions == 0
        server.health = SERVING
        assert await pool.next_backend() == "riva"
        assert server.questions > 0


async def test_a_server_without_a_health_service_is_asked_what_it_has_loaded() -> None:
    async with RivaServer() as server, watched(server.endpoint()) as pool:
        server.models = {}
        await pool.until_told(BackendDown, "riva")
        server.models = {"conformer-en": ENGLISH}
        assert await pool.next_backend() == "riva"


async def test_a_stream_that_breaks_sends_its_session_elsewhere_at_once() -> None:
    async with RivaServer(mute) as first, RivaServer() as spare:
        endpoints = (first.endpoint(name="first"), spare.endpoint(name="spare", tier=Tier.FALLBACK))
        async with watched(*endpoints) as pool:
            await pool.until_told(BackendUp, "first")
            await pool.until_told(BackendUp, "spare")

            async def speak() -> str:
                async with (
                    pool.pool.lease("s", CONFIG, on_wait=lambda: None) as lease,
                    lease.backend.open(CONFIG, label="s/1") as stream,
                ):
                    await stream.send(SPEECH)
                    if lease.backend.name == "first":
                        await first.grpc.stop(None)
                    result: Recognised = await anext(aiter(stream))
                    lease.answered()
                    return result.text

            with pytest.raises(SpeechError):
                await speak()
            assert await speak() == "1 chunks"


async def test_a_flood_of_refusals_is_followed_by_one_stream_after_each_pause() -> None:
    pause, tried = 0.2, list[float]()

    async def refuse(requests: Requests, context: Any) -> AsyncIterator[pb.StreamingRecognizeResponse]:
        tried.append(asyncio.get_running_loop().time())
        trailers = (("grpc-retry-pushback-ms", str(int(pause * 1000))),)
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "exceeded rate limit", trailing_metadata=trailers)
        yield pb.StreamingRecognizeResponse()

    async def speak(pool: Watched, session: str) -> None:
        while True:
            with suppress(SpeechError):
                async with (
                    pool.pool.lease(session, CONFIG, on_wait=lambda: None) as lease,
                    lease.backend.open(CONFIG, label=session) as stream,
                ):
                    async for _ in stream:
                        pass

    async with RivaServer(refuse) as server, watched(server.endpoint()) as pool:
        await pool.until_told(BackendUp, "riva")
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(speak, pool, f"s{number}")
            await pool.until(lambda: len(tried) >= 26)
            tasks.cancel_scope.cancel()
    later = tried[20:]
    assert all(after - before >= pause * 0.9 for before, after in pairwise(later))


async def test_a_wrong_key_holds_an_endpoint_back_until_the_settings_are_mended() -> None:
    async with RivaServer() as server, RivaServer() as spare:
        server.refusal = (grpc.StatusCode.UNAUTHENTICATED, "no authorization was passed in the metadata")
        wrong = server.endpoint(name="first", metadata={"authorization": "Bearer wrong-key"})
        other = spare.endpoint(name="spare", tier=Tier.FALLBACK)
        async with watched(wrong, other) as pool:
            await pool.until_told(BackendDown, "first")
            await pool.until_told(BackendUp, "spare")
            assert (await pool.next_backend(), pool.state("first").last_code) == ("spare", "RIVA_004")
            assert pool.state("first").rest_seconds > 10
            server.refusal = None
            mended = server.endpoint(name="first", metadata={"authorization": "Bearer right-key"})
            assert await pool.backends.reconfigure([mended, other]) == Changes(changed=("first",))
            await pool.until_told(BackendUp, "first")
            assert await pool.next_backend("new") == "first"


async def test_settings_that_need_no_other_connection_are_used_on_the_one_there_is() -> None:
    async with RivaServer() as server, watched(server.endpoint(max_streams=1)) as pool:
        async with pool.pool.lease("s", CONFIG, on_wait=lambda: None) as lease:
            backend = lease.backend
            assert isinstance(backend, RivaBackend)
            more = server.endpoint(max_streams=7, tier=Tier.FALLBACK, quota_key="shared", stall_timeout=9.0)
            assert await pool.backends.reconfigure([more]) == Changes(changed=("riva",))
            assert (backend.max_streams, backend.tier, backend.quota_key) == (7, Tier.FALLBACK, "shared")
            assert (backend.endpoint, pool.state("riva").streams) == (more, 1)
            assert await pool.next_backend("t") == "riva"
        assert await pool.backends.reconfigure([more]) == Changes()
        assert not any(isinstance(event, BackendDrained | BackendJoined) for event in pool.events)


async def test_an_endpoint_that_is_replaced_is_closed_when_its_last_stream_has_ended() -> None:
    async with RivaServer() as old, RivaServer() as new, watched(old.endpoint()) as pool:
        async with (
            pool.pool.lease("s", CONFIG, on_wait=lambda: None) as lease,
            lease.backend.open(CONFIG, label="s/1") as stream,
        ):
            assert await pool.backends.reconfigure([new.endpoint()]) == Changes(changed=("riva",))
            await pool.until_told(BackendUp, "riva", times=2)
            await stream.send(SPEECH)
            assert (await anext(aiter(stream))).text == "1 chunks"
            assert lease.should_move()
            assert [child.id for child in children(pool)] == ["channels", "questions", "close riva 1", "watch riva"]
        await pool.until_told(BackendLeft, "riva")
        await pool.until(lambda: len(children(pool)) == 3)
        await pool.next_backend("s")
        assert old.questions > 0
        asked = old.questions
        await pool.next_backend("t")
        assert old.questions == asked


async def test_endpoints_are_added_and_removed() -> None:
    async with RivaServer() as a, RivaServer() as b, watched(a.endpoint(name="a")) as pool:
        one, other = a.endpoint(name="a"), b.endpoint(name="b")
        assert await pool.backends.reconfigure([one, other]) == Changes(added=("b",))
        await pool.until_told(BackendUp, "b")
        assert await pool.backends.reconfigure([other]) == Changes(removed=("a",))
        assert await pool.next_backend() == "b"
        assert [child.id for child in children(pool)][:3] == ["channels", "questions", "watch b"]


async def test_endpoints_that_cannot_be_used_change_nothing() -> None:
    async with RivaServer() as server, watched(server.endpoint()) as pool:
        bad = Endpoint(name="other", address="localhost:1", tls=True, ca_file="/nowhere/ca.pem")
        less = server.endpoint(max_streams=1)
        with pytest.raises(ValueError, match="endpoint 'other': ca_file"):
            await pool.backends.reconfigure([less, bad])
        with pytest.raises(ValueError, match="at least one backend"):
            await pool.backends.reconfigure([])
        assert pool.state("riva").max_streams == 100
        assert await pool.next_backend() == "riva"


async def test_whoever_asks_while_the_channel_is_closed_is_told_so() -> None:
    async with RivaServer(health=SERVING) as server:
        server.hold_questions.clear()
        backend = RivaBackend(server.endpoint())

        async def ask() -> None:
            with pytest.raises(SpeechError, match="closed by us"):
                await backend.probe()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask())
            while not server.questions:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await backend.aclose()
            server.hold_questions.set()


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        ((grpc.StatusCode.UNAVAILABLE, "Server not ready"), BackendNotReady),
        ((grpc.StatusCode.PERMISSION_DENIED, "no"), NotAuthorized),
    ],
)
async def test_a_question_that_is_refused_says_what_is_wrong(
    refusal: tuple[grpc.StatusCode, str], error: type[SpeechError]
) -> None:
    async with RivaServer(health=SERVING) as server, RivaBackend(server.endpoint()) as backend:
        server.refusal = refusal
        with pytest.raises(error):
            await backend.probe()
        server.refusal = None
        await backend.probe()
        assert server.checks == 2


def children(pool: Watched) -> list[object]:
    return list(pool.tree.value("backends").which_children())


async def test_what_is_loaded_is_asked_of_all_and_told_once() -> None:
    async with RivaServer() as one, RivaServer() as two:
        two.models = {"conformer-en": ENGLISH, "offline-de": {"type": "offline", "language_code": "de-DE"}}
        gone = Endpoint(name="gone", address="127.0.0.1:1")
        async with watched(one.endpoint(name="one"), gone, two.endpoint(name="two")) as pool:
            models = await pool.backends.models()
    assert [(model.name, model.parameters) for model in models] == list(two.models.items())


async def test_what_is_loaded_cannot_be_told_when_nobody_answers() -> None:
    async with watched(Endpoint(name="gone", address="127.0.0.1:1")) as pool:
        with pytest.raises(ConnectionFailed):
            await pool.backends.models()
