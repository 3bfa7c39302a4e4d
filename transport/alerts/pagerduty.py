"""PagerDuty's Events API v2: https://developer.pagerduty.com/docs/events-api-v2/overview/."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec

from transport.alerts.notices import Notice, Phase
from transport.alerts.port import LEVELS, Request, link, timestamp

URL = "https://events.pagerduty.com/v2/enqueue"
LONGEST_KEY = 255
LONGEST_SUMMARY = 1024


class PagerDuty:
    """One incident for each alert, resolved with it.

    Args:
        key: the routing key of an Events API v2 integration.
    """

    burst = 5
    batch = False
    remembers = True

    def __init__(self, key: str, *, url: str = URL, runbook: str | None = None) -> None:
        self._key = key
        self._url = url
        self._runbook = runbook

    def request(self, notices: Sequence[Notice], when: float) -> Request:
        (notice,) = notices
        event: dict[str, Any] = {"routing_key": self._key, "dedup_key": dedup_key(notice)}
        if notice.phase is Phase.RESOLVED:
            event["event_action"] = "resolve"
        else:
            event |= {"event_action": "trigger", "client": "voxtree", "payload": _payload(notice)}
            if (href := link(self._runbook, notice)) is not None:
                event["links"] = [{"href": href, "text": "Runbook"}]
        return Request(self._url, msgspec.json.encode(event))


def dedup_key(notice: Notice) -> str:
    """The key, cut where it is too long so that it still tells alerts apart."""
    key = str(notice.key)
    if len(key) <= LONGEST_KEY:
        return key
    digest = sha256(key.encode()).hexdigest()[:16]
    return f"{key[: LONGEST_KEY - 17]}/{digest}"


def _payload(notice: Notice) -> dict[str, Any]:
    return {
        "summary": notice.summary[:LONGEST_SUMMARY],
        "source": notice.key.host,
        "severity": LEVELS[notice.severity],
        "timestamp": timestamp(notice.when),
        "component": notice.key.component,
        "group": "voxtree",
        "class": notice.key.code,
        "custom_details": {
            "times": notice.times,
            "how_often": notice.story,
            "meaning": notice.meaning,
            "what_to_do": notice.remedy,
        },
    }
