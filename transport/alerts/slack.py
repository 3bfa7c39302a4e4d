"""Slack's incoming webhooks: https://api.slack.com/messaging/webhooks."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from transport.alerts.notices import Notice, Phase
from transport.alerts.port import LEVELS, Request, link

LONGEST_HEADER = 150
LONGEST_TEXT = 3000


class Slack:
    """A message for each notice: Slack knows no alerts, so how one goes on and ends is said in further ones.

    Args:
        url: of the webhook; whoever has it can write to the channel.
    """

    burst = 1  # a message a second for each channel
    batch = False
    remembers = True

    def __init__(self, url: str, *, runbook: str | None = None) -> None:
        self._url = url
        self._runbook = runbook

    def request(self, notices: Sequence[Notice], when: float) -> Request:
        (notice,) = notices
        header = f"{_mark(notice)} {notice.summary}"
        blocks = [
            {"type": "header", "text": {"type": "plain_text", "text": _cut(header, LONGEST_HEADER)}},
            {"type": "section", "text": {"type": "mrkdwn", "text": _cut(self._text(notice), LONGEST_TEXT)}},
        ]
        return Request(self._url, msgspec.json.encode({"text": escaped(header), "blocks": blocks}))

    def _text(self, notice: Notice) -> str:
        key = notice.key
        lines = [f"*Code* `{escaped(key.code)}` · *Host* {escaped(key.host)} · {escaped(notice.story)}"]
        if notice.phase is Phase.FIRING and not notice.repeat:
            lines += [escaped(notice.meaning), escaped(notice.remedy)]
            if (href := link(self._runbook, notice)) is not None:
                lines.append(f"<{escaped(href)}|Runbook>")
        return "\n".join(lines)


def escaped(text: str) -> str:
    """Slack takes these three for links, mentions and entities, and wants nothing else escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _mark(notice: Notice) -> str:
    if notice.phase is Phase.RESOLVED:
        return "[resolved]"
    return f"[{LEVELS[notice.severity]}, goes on]" if notice.repeat else f"[{LEVELS[notice.severity]}]"


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
