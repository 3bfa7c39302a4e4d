"""Where a case is played: the processes, the clients, and the clock."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

from bench.faults.outcome import Check, Strike
from bench.faults.players import COMMAND_LINE, Voxtree, pair, toml
from bench.faults.recovery import delays, percentile, resumption, switches
from bench.faults.talk import CHUNK_SECONDS, KEEP_SECONDS, Talk
from bench.processes import Process
from bench.proxy import Proxy
from bench.riva import CodedSpeech, Plan, RivaProcess
from bench.riva.faults import Action
from bench.riva.words import TAGS
from transport.expected import ExpectedError

UTTERANCE, PAUSE = 10, 0.4  # words, seconds: with the silence around words enough for a final
SPREAD = 1.0  # seconds over which the clients begin, less when they speak shortly
PATIENCE = 60.0  # seconds after the end of speech, faults aside, in which the last words must have come


_numbers = itertools.count(1)  # of files, and of clients


class Unplayable(ExpectedError):
    """This machine has not what a case needs. The message says what."""


class Clock:
    """The time while clients speak.

    Attributes:
        talks: the clients.
        seconds: how long each speaks.
    """

    def __init__(self, talks: Sequence[Talk], spread: float, seconds: float) -> None:
        self.talks = talks
        self._last_began = time.monotonic() + spread
        self.seconds = seconds

    async def at(self, part: float) -> None:
        """Wait until the client who began last has said such a part of its speech."""
        await asyncio.sleep(self._last_began + part * self.seconds - time.monotonic())


class Stage:
    """Everything a case needs, ended with it. Start it by `async with`.

    Args:
        sessions, words: how many clients speak, and how many words each.
        folder: for files; its owner removes it.
        tell: shown what goes on.

    Attributes:
        talks: the clients whose words count.
        strike: when the fault struck.
        checks, facts, details, not_yet: what there is to report besides; see `Outcome`.
        seconds: how long a client speaks.
    """

    def __init__(self, sessions: int, words: int, folder: Path, tell: Callable[[str], None]) -> None:
        self.sessions = sessions
        self.words = words
        self.folder = folder
        self.tell = tell
        self.talks: list[Talk] = []
        self.strike: Strike | None = None
        self.checks: list[Check] = []
        self.facts: dict[str, float] = {}
        self.details: list[dict[str, object]] = []
        self.not_yet: list[str] = []
        self._stack = AsyncExitStack()

    @property
    def seconds(self) -> float:
        speech = self._speech(self.words)
        return speech.samples / speech.rate

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    # ---- who plays

    async def rivas(self, *plans: Plan, tls: tuple[Path, Path] | None = None) -> Sequence[RivaProcess]:
        """Scripted Rivas, one for each plan. `tls`: see `RivaProcess`."""
        self.tell("starting the Rivas")
        return [await self._stack.enter_async_context(RivaProcess(plan, tls=tls)) for plan in plans]

    async def proxy(self, target: int, *, window: int | None = None) -> Proxy:
        """A proxy before a port."""
        proxy = Proxy(target=target, window=window)
        await proxy.open()
        self._stack.push_async_callback(proxy.close)
        return proxy

    async def voxtree(
        self,
        *backends: Mapping[str, object],
        settings: Mapping[str, object] | None = None,
        workers: int = 1,
        module: str = COMMAND_LINE,
        environment: Mapping[str, str] | None = None,
        inside: Sequence[str] = (),
        keep_log: Path | None = None,
    ) -> Voxtree:
        """A server with these backends, of which the first is the primary one if nothing else is said.

        Args:
            settings: further ones by path: `{"session.log_seconds": 20}`.
            workers: processes that it serves with.
            module: what runs it; `inside`: see `Process`; `keep_log`: see `Voxtree`.
        """
        self.tell("starting voxtree")
        path = self.folder / f"voxtree-{next(_numbers)}.toml"
        usual = {"session.max_sessions": 2 * self.sessions, "journal.path": str(path.with_suffix(".db"))}
        path.write_text(toml(backends, {**usual, **(settings or {})}, self.sessions * workers))
        command = ["serve"] if module == COMMAND_LINE else []
        arguments = [*command, "--config", str(path), "--workers", str(workers)]
        voxtree = Voxtree(*arguments, module=module, environment=environment or {}, inside=inside, keep_log=keep_log)
        return await self._stack.enter_async_context(voxtree)

    async def naive(self, *ports: int) -> str:
        """The handler to measure against, before Rivas at these ports; where clients connect."""
        addresses = [f"127.0.0.1:{port}" for port in ports]
        process = await self._stack.enter_async_context(Process("-m", "bench.naive", *addresses))
        return (await process.line()).split()[-1]

    async def usual(
        self, *faults: Action, fallback_faults: tuple[Action, ...] = (), **more: Any
    ) -> tuple[RivaProcess, RivaProcess, Voxtree]:
        """A primary Riva with faults, a fallback, by default without any, and voxtree. `more`: see `voxtree`."""
        primary, fallback = await self.rivas(Plan(faults=faults), Plan(faults=fallback_faults))
        return primary, fallback, await self.voxtree(*pair(primary.port, fallback.port), **more)

    # ---- what happens

    @asynccontextmanager
    async def speech(
        self,
        url: str,
        sessions: int | None = None,
        *,
        counts: bool = True,
        name: str = "s",
        words: int | None = None,
        spread: float | None = None,
        chunk: float = CHUNK_SECONDS,
        pace: float | None = CHUNK_SECONDS,
        patience: float = PATIENCE,
        keep: float = KEEP_SECONDS,
        give_up_after: float | None = None,
        client: type[Talk] = Talk,
    ) -> AsyncGenerator[Clock, None]:
        """Clients speak while the body runs, and until they have been told all.

        Args:
            sessions: how many; all by default.
            counts: their words belong to the account.
            name: what their session ids begin with; empty: the server names them.
            spread: seconds over which they begin.
            chunk: seconds of audio in a message.
            pace: seconds between two messages; None: as fast as the server takes them.
            patience: seconds after the end of speech that the last words may take.
            keep, give_up_after: see `Talk`.
            client: what a client is.
        """
        make = partial(client, keep=keep, give_up_after=give_up_after, live=pace is not None, chunk=chunk)
        talks = [make(self.coded(words)) for _ in range(self.sessions if sessions is None else sessions)]
        if counts:
            self.talks += talks
        seconds = max((talk.speech.samples / talk.speech.rate for talk in talks), default=0.0)
        spread = min(SPREAD, seconds / 4) if spread is None else spread
        clock = Clock(talks, spread, seconds)
        self.tell(f"{len(talks)} clients speak for {seconds + spread:.0f} s")
        running = [
            asyncio.create_task(
                talk.run(
                    f"{url}/{name}-{talk.speech.tag}" if name else url,
                    wait=spread * number / len(talks),
                    limit=seconds + patience,
                    pace=pace,
                )
            )
            for number, talk in enumerate(talks)
        ]
        try:
            yield clock
            await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    @asynccontextmanager
    async def apart(self) -> AsyncGenerator[Stage, None]:
        """A stage for a part of the case, which ends before the whole does."""
        async with Stage(self.sessions, self.words, self.folder, lambda line: None) as stage:
            yield stage

    def struck(self, at: float | None = None) -> None:
        """A fault strikes now; or it did before, and from now on words can come again."""
        now = time.monotonic()
        self.strike = Strike(now if at is None else at, now)

    def check(self, what: str, value: float, limit: float, unit: str = "") -> None:
        """Note a figure that must not exceed its limit."""
        self.checks.append(Check(what, round(value, 4), limit, unit))

    def limit_delay(self, seconds: float) -> None:
        """Let no word be seen later than that, above what is usual; when all have ended."""
        late = [delay for talk in self.talks for delay in delays(talk)]
        usual, most = percentile(late, 50) or 0.0, percentile(late, 99) or 0.0
        self.check("added delay p99", 1000 * (most - usual), 1000 * seconds, "ms")

    def limit_resume(self, seconds: float, *, moved_only: bool = False) -> None:
        """Let each session be resumed in so many seconds, since it was possible again; when all have ended.

        Args:
            moved_only: those count only that lost their connection.
        """
        assert self.strike is not None
        since = self.strike.since
        talks = [talk for talk in self.talks if not moved_only or _moved(talk)]
        took = [each for talk in talks if (each := resumption(talk, since)) is not None]
        self.facts["sessions to resume"] = len(talks)
        self.check("sessions that were not resumed", len(talks) - len(took), 0)
        self.check("resume p99", 1000 * (percentile(took, 99) or 0.0), 1000 * seconds, "ms")
        self.facts["resume p50, ms"] = 1000 * (percentile(took, 50) or 0.0)
        self.facts["resume max, ms"] = 1000 * (percentile(took, 100) or 0.0)
        self.check("finals and gaps that do not tile", sum(talk.holes for talk in self.talks), 0)

    def limit_switches(self, most: float) -> None:
        """Let no client's source change more often; when all have ended."""
        self.check("changes of source", max(map(switches, self.talks), default=0), most)

    def coded(self, words: int | None = None) -> CodedSpeech:
        """Speech that nobody else has. `words`: how many, if not as many as usual."""
        return self._speech(self.words if words is None else words, next(_numbers) % TAGS or 1)

    def _speech(self, words: int, tag: int = 0) -> CodedSpeech:
        return CodedSpeech(words=words, tag=tag, utterance=UTTERANCE, pause=PAUSE)


def _moved(talk: Talk) -> bool:
    return any(heard.event == "reconnecting" for heard in talk.heard)
