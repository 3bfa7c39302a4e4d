"""Wire protocols: sans-I/O codecs on one port, and the intake that makes steps of a client's messages."""

from transport.wire.intake import Intake, Open, Refuse, Reply, Samples, Step
from transport.wire.port import (
    AudioBytes,
    Bad,
    ClientEvent,
    Codec,
    Failed,
    Limits,
    Opened,
    Ping,
    Pong,
    ServerEvent,
    Start,
)
from transport.wire.voxtree_v1 import VoxtreeV1

__all__ = [
    "AudioBytes",
    "Bad",
    "ClientEvent",
    "Codec",
    "Failed",
    "Intake",
    "Limits",
    "Open",
    "Opened",
    "Ping",
    "Pong",
    "Refuse",
    "Reply",
    "Samples",
    "ServerEvent",
    "Start",
    "Step",
    "VoxtreeV1",
]
