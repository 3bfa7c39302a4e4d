"""Those who are to be told of trouble cannot be told: nobody who speaks may notice."""

from __future__ import annotations

import asyncio
import re
import socket
import urllib.request
from urllib.parse import urljoin

from bench.alert_sink import AlertSink
from bench.faults.rows.backends import EARLY
from bench.faults.stage import Stage

QUEUE = 1  # alerts that may wait for a sink
_SENT = re.compile(r'^voxtree_alerts_sent_total{result="(\w+)",sink="\w+"} (\S+)$', re.MULTILINE)


async def deaf_sinks(stage: Stage) -> None:
    """One sink takes what it is sent and never answers, one refuses connections, while both Rivas die in turns."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))  # and not listened on
        async with AlertSink(silent=True) as silent:
            dead = f"http://127.0.0.1:{holder.getsockname()[1]}/"
            sinks = [
                {"name": name, "type": "webhook", "url": url, "queue": QUEUE, "timeout": 5.0}
                for name, url in (("silent", silent.url), ("dead", dead))
            ]
            primary, fallback, voxtree = await stage.usual(settings={"alerts.sinks": sinks})
            async with stage.speech(voxtree.url) as clock:
                await clock.at(EARLY)
                stage.struck()
                await primary.kill()
                await asyncio.sleep(1.0)
                await primary.start()
                await asyncio.sleep(1.0)
                await fallback.kill()
            counts = await asyncio.to_thread(_sent, voxtree.console)
            stage.facts["alerts that the silent sink took"] = len(silent.bodies)
    stage.facts["alerts dropped"] = counts.get("dropped", 0.0)
    stage.check("alerts that count as delivered", counts.get("delivered", 0.0), 0)
    stage.check("sinks that were not tried", float(not silent.bodies), 0)


def _sent(console: str) -> dict[str, float]:
    """What became of alerts, by result, as the server counts it."""
    with urllib.request.urlopen(urljoin(console, "/metrics"), timeout=10) as answer:
        text = answer.read().decode()
    counts: dict[str, float] = {}
    for result, count in _SENT.findall(text):
        counts[result] = counts.get(result, 0.0) + float(count)
    return counts
