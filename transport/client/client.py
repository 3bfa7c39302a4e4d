"""A voxtree server, as a client sees it."""

from __future__ import annotations

from transport.audio.formats import AudioFormat, Encoding, require_supported
from transport.client.core import ClientCore
from transport.client.dialling import Dialler, Token
from transport.client.session import Session
from transport.wire.voxtree_v1_schema import StartConfig


class Client:
    """Begins sessions with one server.

        async with Client("ws://127.0.0.1:8600/transcribe").session(language="en-US") as session:
            await session.send(pcm)
            session.stop()
            async for event in session:
                ...

    Args:
        url: `ws://HOST:PORT/transcribe`; with `/ID` behind it, that is the session's id.
        token: who we are, sent as `Authorization: Bearer`; or a coroutine function that gives one, and another when the
            server takes that no more.
        keep: seconds of audio kept for a lost connection. A server settles most within some 10 s.
        give_up_after: seconds without a connection after which a session fails; None: what the server keeps sessions
            for (`session.resume_window`), and a little more.
    """

    def __init__(
        self, url: str, token: Token | None = None, *, keep: float = 60.0, give_up_after: float | None = None
    ) -> None:
        self._dialler = Dialler(url, token)
        self._keep = keep
        self._give_up_after = give_up_after

    def session(
        self,
        *,
        language: str = "en-US",
        encoding: str = "pcm16",
        sample_rate: int = 16_000,
        channels: int = 1,
        interim_results: bool = True,
        word_times: bool = True,
        punctuate: bool = True,
        model: str = "",
        live: bool = False,
    ) -> Session:
        """A session, which begins when it is entered.

        Args:
            language: BCP-47.
            encoding: `pcm16` (little-endian), `mulaw`, `alaw`: raw samples, without a header.
            sample_rate: Hz, 8000 to 48000.
            channels: 1, or 2, which are mixed down.
            interim_results: whether to be told what is not final yet.
            live: it is being spoken: `send` never waits, and what no memory holds is lost, and said to be by a `Gap`.
                Otherwise `send` waits, and nothing is ever lost.

        Raises:
            ValueError: there is no such encoding.
            actors.speech.errors.InvalidAudioFormat: a rate or number of channels that no server takes.
        """
        require_supported(sample_rate=sample_rate, channels=channels)
        audio = AudioFormat(encoding=Encoding(encoding), sample_rate=sample_rate, channels=channels)
        config = StartConfig(
            language=language,
            encoding=encoding,
            sample_rate=sample_rate,
            channels=channels,
            interim_results=interim_results,
            word_times=word_times,
            punctuate=punctuate,
            model=model,
        )
        core = ClientCore(
            config,
            frame_bytes=audio.frame_bytes,
            sample_rate=sample_rate,
            live=live,
            keep=self._keep,
            give_up_after=self._give_up_after,
        )
        return Session(core, self._dialler)
