"""Wire protocols: sans-I/O codecs on one port, and the intake that makes steps of a client's messages."""

from transport.wire.intake import Intake, Open, Refuse, Samples, Step
from transport.wire.port import (
    Accepted,
    Answer,
    AnswerDue,
    AudioBytes,
    Await,
    Bad,
    ClientEvent,
    Codec,
    Failed,
    Limits,
    Opened,
    Reply,
    Request,
    Routes,
    ServerEvent,
    Start,
)
from transport.wire.voxtree_v1 import VoxtreeV1

__all__ = [
    "Accepted",
    "Answer",
    "AnswerDue",
    "AudioBytes",
    "Await",
    "Bad",
    "ClientEvent",
    "Codec",
    "Failed",
    "Intake",
    "Limits",
    "Open",
    "Opened",
    "Refuse",
    "Reply",
    "Request",
    "Routes",
    "Samples",
    "ServerEvent",
    "Start",
    "Step",
    "VoxtreeV1",
]
