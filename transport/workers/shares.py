"""What of the machine's settings is one worker's: what backends and sessions may take in all is divided."""

from __future__ import annotations

import msgspec

from transport.riva.channel import Endpoint
from transport.settings import Admin, Alerts, Settings

_replace = msgspec.structs.replace


def share(total: int, number: int, of: int) -> int:
    """So many of `total` are for worker `number` of `of`; together they get them all, and each gets at least one."""
    return max(1, total // of + (number < total % of))


def settings_of(settings: Settings, number: int, of: int, *, admin: str, embedded: Endpoint | None) -> Settings:
    """The settings of one worker.

    Args:
        admin: path of the socket by which the parent looks into it.
        embedded: the recogniser that runs beside the workers; None: there is none.
    """
    backends = (*settings.backends, *([] if embedded is None else [embedded]))
    sessions, connections = settings.session.max_sessions, settings.limits.connections
    return _replace(
        settings,
        server=_replace(settings.server, workers=1),
        backends=tuple(_replace(each, max_streams=share(each.max_streams, number, of)) for each in backends),
        session=_replace(settings.session, max_sessions=_of(sessions, number, of)),
        limits=_replace(settings.limits, connections=_of(connections, number, of)),
        embedded=_replace(settings.embedded, enabled=False),
        admin=Admin(host=f"unix:{admin}", port=0, actions=settings.admin.actions),
        alerts=Alerts(),  # the parent tells them, of all workers once
    )


def _of(total: int | None, number: int, of: int) -> int | None:
    return None if total is None else share(total, number, of)
