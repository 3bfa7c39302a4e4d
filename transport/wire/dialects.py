"""Which of other systems' protocols are spoken, and at which paths their clients look for them."""

from __future__ import annotations

from collections.abc import Collection

from transport.wire.port import Routes


def routes(enabled: Collection[str]) -> Routes:
    """The paths of the protocols that are `enabled`, by the names in `transport.settings.Dialects`."""
    return Routes()
