"""A client for the `voxtree.v1` protocol that survives what happens to its connections."""

from transport.client.client import Client
from transport.client.errors import CannotConnect, ConnectionLost, ResumeFailed, SessionFailed, TakenOver
from transport.client.events import (
    Ack,
    Done,
    Final,
    Gap,
    GoingAway,
    Interim,
    Problem,
    Ready,
    Reconnecting,
    SpeechEvent,
    Status,
    Word,
)
from transport.client.session import Session
from transport.client.transcript import Segment, Transcript, transcribe, transcribe_file

__all__ = [
    "Ack",
    "CannotConnect",
    "Client",
    "ConnectionLost",
    "Done",
    "Final",
    "Gap",
    "GoingAway",
    "Interim",
    "Problem",
    "Ready",
    "Reconnecting",
    "ResumeFailed",
    "Segment",
    "Session",
    "SessionFailed",
    "SpeechEvent",
    "Status",
    "TakenOver",
    "Transcript",
    "Word",
    "transcribe",
    "transcribe_file",
]
