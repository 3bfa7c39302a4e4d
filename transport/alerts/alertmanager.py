"""Prometheus Alertmanager's API v2, as Prometheus itself uses it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from actors.speech.catalogue import Severity
from transport.alerts.notices import Notice, Phase
from transport.alerts.port import Request, link, timestamp

PATH = "/api/v2/alerts"
MISSED = 3  # intervals without being told, after which an alert is over: so it ends even if this process does


class Alertmanager:
    """All alerts that last, again and again; Alertmanager groups, silences and routes them.

    What it knows an alert by are its labels, so none of them changes while the alert lasts.

    Args:
        url: of its root.
        interval: seconds after which it is told again.
        key: a bearer token for a proxy before it; None: nobody wants one.
    """

    burst = 5
    batch = True
    remembers = False

    def __init__(self, url: str, interval: float, *, key: str | None = None, runbook: str | None = None) -> None:
        self._url = url if url.rstrip("/").endswith(PATH) else url.rstrip("/") + PATH
        self._lasts = MISSED * interval
        self._headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        self._runbook = runbook

    def request(self, notices: Sequence[Notice], when: float) -> Request:
        alerts = [self._alert(notice, when) for notice in notices]
        return Request(self._url, msgspec.json.encode(alerts), self._headers)

    def _alert(self, notice: Notice, when: float) -> dict[str, Any]:
        over = notice.phase is Phase.RESOLVED
        return {
            "labels": labels(notice),
            "annotations": self._annotations(notice),
            "startsAt": timestamp(notice.since),
            "endsAt": timestamp(notice.when if over else when + self._lasts),
        }

    def _annotations(self, notice: Notice) -> dict[str, str]:
        texts = {"summary": notice.summary, "description": notice.meaning, "action": notice.remedy}
        href = link(self._runbook, notice)
        return texts if href is None else {**texts, "runbook_url": href}


def labels(notice: Notice) -> dict[str, str]:
    """What identifies an alert."""
    name = "".join(part.capitalize() for part in notice.name.split("_"))
    return {
        "alertname": f"voxtree_{name}",
        "severity": "page" if notice.severity is Severity.CRITICAL else "ticket",
        "code": notice.key.code,
        "component": notice.key.component,
        "instance": notice.key.host,
    }
