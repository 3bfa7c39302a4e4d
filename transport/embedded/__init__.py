"""A real recogniser behind Riva's gRPC protocol, in a process of its own: `python -m transport.embedded`."""

from __future__ import annotations

from transport.embedded.host import EmbeddedRecogniser

__all__ = ["EmbeddedRecogniser"]
