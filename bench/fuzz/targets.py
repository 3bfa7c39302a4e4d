"""What is fuzzed: each protocol's codec behind the intake that drives it, and what reads requests. No I/O."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import get_args

import msgspec

from actors.speech.catalogue import CATALOGUE
from actors.speech.errors import SpeechError
from actors.speech.messages import (
    Ack,
    Done,
    Gap,
    GoAway,
    Problem,
    Ready,
    Recalled,
    Status,
    Transcript,
)
from actors.speech.ports import RecognitionConfig, Word
from transport.audio.formats import AudioFormat
from transport.plain_http import RequestReader, RequestRefused, response
from transport.settings import Dialects
from transport.wire import voxtree_v1
from transport.wire.dialects import routes
from transport.wire.intake import Intake, Refuse, Step
from transport.wire.port import (
    Accepted,
    Answer,
    AnswerDue,
    Await,
    Failed,
    Limits,
    Opened,
    Reply,
    Request,
    ServerEvent,
)

Message = str | bytes
Connect = Callable[[Request, str], Accepted | Answer]

PCM = b"\x01\x00\x02\x00" * 80
BASE64 = base64.b64encode(PCM).decode()
WAV = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00"
WAV += b"\x00\x7d\x00\x00\x02\x00\x10\x00data\xff\xff\xff\xff" + PCM
SESSION_ID = "6f7c3a52-0000-4000-8000-000000000000"
ROUTES = routes(Dialects().enabled)
STEPS = get_args(Step)


class Broken(AssertionError):
    """A codec did what codecs may not do. The message says what."""


class Target(msgspec.Struct, frozen=True):
    """A protocol as its clients speak it.

    Attributes:
        connect: who is asked for its WebSockets.
        request: how its client asks.
        conversations: what its clients say, in order; where mutations begin.
    """

    name: str
    connect: Connect
    request: Request
    conversations: Sequence[Sequence[Message]]

    def play(self, messages: Iterable[Message]) -> int:
        """Say this to it as one client; how many messages it took until it had enough.

        Raises:
            Broken: it answered wrongly. Anything else that is raised is a defect as well.
        """
        accepted = self.connect(self.request, SESSION_ID)
        if isinstance(accepted, Answer):
            raise Broken(f"{self.name}: refused its own client: {accepted.body!r}")
        codec, taken = accepted.codec, 0
        intake = Intake(codec, Limits())
        if _over(intake.connected()):
            raise Broken(f"{self.name}: a client that has said nothing was sent away")
        for message in messages:
            taken += 1
            if _over(intake.receive(message)):
                break
        for event in EVENTS:
            for text in codec.encode(event):
                json.loads(text)
        for code in CATALOGUE:
            if not 1000 <= codec.close_code(code) <= 4999:
                raise Broken(f"{self.name}: close code {codec.close_code(code)} for {code}")
        return taken


def _over(steps: Iterable[Step]) -> bool:
    """Whether the client is sent away; all steps are looked at."""
    over = False
    for step in steps:
        match step:
            case Refuse(error, fatal):
                if not isinstance(error, SpeechError) or error.code not in CATALOGUE:
                    raise Broken(f"an error that nobody knows: {error!r}")
                over = over or fatal
            case Reply(text):
                json.loads(text)
            case Await(seconds):
                if not 0 <= seconds <= 1:
                    raise Broken(f"a client would wait {seconds} s for an answer")
            case _ if not isinstance(step, STEPS):
                raise Broken(f"no step: {step!r}")
    return over


def request(data: bytes, cut: int) -> bool:
    """Read bytes as a request, in two pieces, and have it answered by all who might be asked; whether it was one.

    Raises:
        Exception: a defect.
    """
    reader = RequestReader()
    try:
        found = reader.feed(data[:cut]) or reader.feed(data[cut:])
    except RequestRefused as refused:
        if not 400 <= refused.status <= 599:
            raise Broken(f"a refusal with status {refused.status}") from refused
        return False
    if found is None:
        return False
    answers: list[Accepted | Answer] = [respond(found) for respond in ROUTES.posts.values()]
    answers += [connect(found, SESSION_ID) for connect in (voxtree_v1.connect, *ROUTES.sockets.values())]
    for answer in answers:
        if isinstance(answer, Answer):
            json.loads(answer.body)
            response(answer)
    return True


REQUESTS = (
    b"POST /v1/realtime/transcription_sessions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /v1/realtime/client_secrets HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"POST /v1/realtime/client_secrets HTTP/1.1\r\nHost: a\r\nContent-Length: 36\r\n\r\n"
    b'{"session":{"type":"transcription"}} ',
    b"GET /v1/listen?encoding=linear16&sample_rate=16000&channels=1&interim_results=true&endpointing=300 HTTP/1.1\r\n"
    b"Host: a\r\nAuthorization: Token x\r\nSec-WebSocket-Protocol: token, x\r\n\r\n",
    b"GET /v1/realtime?intent=transcription HTTP/1.1\r\nHost: a\r\n"
    b"Sec-WebSocket-Protocol: realtime, realtime-token.x\r\n\r\n",
    b"GET /v1/realtime?model=m HTTP/1.1\r\nHost: a\r\nOpenAI-Beta: realtime=v1\r\nAuthorization: Bearer x\r\n\r\n",
)


def _asked(path: str, query: Mapping[str, str] | None = None, **headers: str) -> Request:
    return Request(
        path=path,
        query={name: (value,) for name, value in (query or {}).items()},
        headers={name.replace("_", "-"): (value,) for name, value in headers.items()},
    )


def _said(*messages: Message | dict[str, object]) -> list[Message]:
    return [json.dumps(message) if isinstance(message, dict) else message for message in messages]


def _append(audio: str = BASE64) -> dict[str, object]:
    return {"type": "input_audio_buffer.append", "audio": audio}


@cache
def targets() -> dict[str, Target]:
    """All that is spoken, by name."""
    found = [
        Target("voxtree.v1", voxtree_v1.connect, _asked("/transcribe"), _VOXTREE),
        Target("vosk", ROUTES.sockets["/"], _asked("/"), _VOSK),
        Target("deepgram", ROUTES.sockets["/v1/listen"], _asked("/v1/listen", _LINEAR16), _DEEPGRAM),
        Target("deepgram, a file", ROUTES.sockets["/v1/listen"], _asked("/v1/listen"), _DEEPGRAM_FILE),
        Target("riva realtime", ROUTES.sockets["/v1/realtime"], _asked("/v1/realtime", _INTENT), _RIVA),
        Target(
            "openai realtime",
            ROUTES.sockets["/v1/realtime"],
            _asked("/v1/realtime", {"model": "gpt-realtime"}, authorization="Bearer x"),
            _OPENAI,
        ),
        Target(
            "openai realtime, beta",
            ROUTES.sockets["/v1/realtime"],
            _asked("/v1/realtime", _INTENT, openai_beta="realtime=v1"),
            _OPENAI_BETA,
        ),
    ]
    return {target.name: target for target in found}


_INTENT = {"intent": "transcription"}
_LINEAR16 = {"encoding": "linear16", "sample_rate": "16000", "interim_results": "true", "vad_events": "true"}
_VOXTREE = (
    _said({"event": "start", "config": {"sample_rate": 16000, "encoding": "pcm16"}}, PCM, {"event": "stop"}),
    _said(PCM, {"event": "finalize"}, {"event": "ping", "t": 1}, {"event": "received", "seq": 1}),
    _said({"event": "start", "resume": {"token": "t", "seq": 1, "end": 5}}, {"event": "audio", "data": BASE64}),
    _said(WAV, WAV[44:], {"event": "stop"}),
)
_VOSK = (
    _said({"config": {"sample_rate": 16000, "words": True, "max_alternatives": 1}}, PCM, PCM, {"eof": 1}),
    _said(PCM, {"reset": 1}, PCM, {"eof": 1}),
)
_DEEPGRAM = (
    _said(PCM, {"type": "KeepAlive"}, PCM, {"type": "Finalize"}, {"type": "CloseStream"}),
    _said(PCM[:77], PCM[77:], b""),
)
_DEEPGRAM_FILE = (
    _said(WAV, {"type": "KeepAlive"}, PCM[:77], PCM[77:], b""),
    _said(WAV[:30], WAV[30:50], WAV[50:], {"type": "Finalize"}, PCM, {"type": "CloseStream"}),
)
_RIVA = (
    _said(
        {
            "type": "transcription_session.update",
            "session": {
                "input_audio_format": "pcm16",
                "input_audio_transcription": {"language": "en-US", "model": "conformer"},
                "input_audio_params": {"sample_rate_hz": 16000, "num_channels": 1},
                "recognition_config": {"enable_word_time_offsets": True, "max_alternatives": 1},
                "endpointing_config": {"start_history": 0, "stop_threshold": 0.5},
            },
        },
        _append(),
        {"type": "input_audio_buffer.commit"},
        {**_append(), "runtime_config": {"force_eou": "true"}},
        {"type": "input_audio_buffer.clear"},
        {"type": "input_audio_buffer.done"},
    ),
    _said(
        {
            "type": "transcription_session.update",
            "session": {"input_audio_format": "none", "recognition_config": {"custom_configuration": "a:b"}},
        },
        _append(base64.b64encode(WAV).decode()),
        {"type": "input_audio_buffer.done"},
    ),
)
_OPENAI = (
    _said(
        {
            "type": "session.update",
            "event_id": "event_1",
            "session": {
                "type": "transcription",
                "audio": {
                    "input": {
                        "format": {"type": "audio/pcm", "rate": 24000},
                        "transcription": {"model": "whisper-1", "language": "en"},
                        "turn_detection": {"type": "server_vad", "silence_duration_ms": 500},
                    }
                },
            },
        },
        _append(),
        {"type": "input_audio_buffer.commit"},
        {"type": "input_audio_buffer.clear"},
    ),
    _said(
        {"type": "session.update", "session": {"audio": {"input": {"format": {"type": "audio/pcmu"}}}}},
        _append(),
    ),
)
_OPENAI_BETA = (
    _said(
        {
            "type": "transcription_session.update",
            "session": {
                "input_audio_format": "g711_ulaw",
                "input_audio_transcription": {"model": "whisper-1"},
                "turn_detection": None,
            },
        },
        _append(),
        {"type": "input_audio_buffer.commit"},
    ),
)


def _events() -> list[ServerEvent]:
    """Something of all that a client may be told."""
    config = RecognitionConfig()
    word = Word("hello", 1600, 4800, 0.9)
    interim = Transcript(is_final=False, seq=0, start=0, end=4800, text="hel", stability=0.5)
    problem = Problem(code="RIVA_001", detail="😀 \"'\\ \x00", retry_after=1.5, fatal=True)
    return [
        Opened(Ready(session_id=SESSION_ID, config=config), AudioFormat(), Limits()),
        AnswerDue(),
        interim,
        Status(state="recovering", code="RIVA_001", message="A moment."),
        Transcript(is_final=True, seq=1, start=0, end=8000, text="hello", words=(word,), confidence=0.9),
        AnswerDue(),
        Transcript(is_final=True, seq=2, start=8000, end=9600, text=""),
        Transcript(is_final=True, seq=3, start=9600, end=11200, text="no times", provisional=True),
        Recalled(start=0, end=100, text="hello", similarity=0.5),
        Gap(seq=4, start=11200, end=12000, code="AUDIO_004"),
        Ack(durable=8000, received=9600, seq=1),
        Status(state="streaming"),
        GoAway(5.0),
        Failed(Problem(code="CONN_003", detail="what"), "ref1"),
        Failed(Problem(code="NOT_ONE"), "ref2"),
        AnswerDue(),
        Done(position=12000, seq=4),
        Failed(problem, "ref3"),
    ]


EVENTS = _events()
