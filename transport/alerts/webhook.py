"""voxtree's own JSON, for whatever takes a POST. `title`, `body` and `type` are what apprise-api wants to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from actors.speech.catalogue import Severity
from transport.alerts.notices import Notice, Phase
from transport.alerts.port import LEVELS, Request, link, timestamp

_TYPES: Mapping[Severity, str] = {
    Severity.INFO: "info",
    Severity.WARNING: "warning",
    Severity.ERROR: "failure",
    Severity.CRITICAL: "failure",
}


class Webhook:
    """A POST for each notice.

    Args:
        key: a bearer token; None: nobody wants one.
    """

    burst = 5
    batch = False
    remembers = True

    def __init__(self, url: str, *, key: str | None = None, runbook: str | None = None) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        self._runbook = runbook

    def request(self, notices: Sequence[Notice], when: float) -> Request:
        (notice,) = notices
        over = notice.phase is Phase.RESOLVED
        body = {
            "version": 1,
            "status": notice.phase.value,
            "repeat": notice.repeat,
            "key": str(notice.key),
            "host": notice.key.host,
            "code": notice.key.code,
            "name": notice.name,
            "component": notice.key.component,
            "kind": notice.kind.value,
            "severity": LEVELS[notice.severity],
            "summary": notice.summary,
            "how_often": notice.story,
            "meaning": notice.meaning,
            "what_to_do": notice.remedy,
            "times": notice.times,
            "started_at": timestamp(notice.since),
            "sent_at": timestamp(when),
            "runbook_url": link(self._runbook, notice),
            "title": f"[{'resolved' if over else LEVELS[notice.severity]}] {notice.summary}",
            "body": f"{notice.story}\n{notice.meaning}\n{notice.remedy}",
            "type": "success" if over else _TYPES[notice.severity],
        }
        return Request(self._url, msgspec.json.encode(body), self._headers)
