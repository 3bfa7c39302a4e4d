"""The embedded recogniser as one of a server's backends."""

from __future__ import annotations

from pathlib import Path

from actors.speech.ports import Tier
from transport.embedded.host import EmbeddedRecogniser
from transport.riva.channel import Endpoint
from transport.settings import EMBEDDED_NAME, Embedded

CATCH_UP = 20.0  # times real time; it reads no faster than it recognises, so its own pace is the limit
PATIENCE = 20.0  # seconds; it shares its cores with everything here, and a dead one is seen by its process


def make_embedded(wanted: Embedded) -> EmbeddedRecogniser:
    """The embedded recogniser as the settings have it."""
    model_dir = Path(wanted.model_dir) if wanted.model_dir else None
    return EmbeddedRecogniser(max_streams=wanted.max_streams, model_dir=model_dir, threads=wanted.threads)


def embedded_endpoint(recogniser: EmbeddedRecogniser) -> Endpoint:
    """It as one of the backends."""
    return Endpoint(
        name=EMBEDDED_NAME,
        address=recogniser.address,
        tier=Tier.EMBEDDED,
        max_streams=recogniser.max_streams,
        catch_up=CATCH_UP,
        first_answer_timeout=PATIENCE,
        stall_timeout=PATIENCE,
        hang_timeout=PATIENCE,
        finish_timeout=PATIENCE,
        max_stream_age=float("inf"),
    )
