"""Those who are to be told of trouble cannot be told: nobody who speaks may notice.

What sinks cost is told from what the trouble itself costs by a second server without any, which has the same backends
and as many clients at the same time.
"""

from __future__ import annotations

import asyncio
import re
import socket
import urllib.request
from collections.abc import Sequence
from urllib.parse import urljoin

from bench.alert_sink import AlertSink
from bench.faults.players import pair
from bench.faults.recovery import delays, percentile
from bench.faults.rows.backends import EARLY
from bench.faults.stage import Stage
from bench.faults.talk import Talk

QUEUE = 1  # alerts that may wait for a sink
# What two servers without sinks differ by, when they recover side by side on two cores.
USUALLY, RARELY = 0.02, 0.25  # seconds of a word's delay, for the 50th and the 99th percentile
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
            without = await stage.voxtree(*pair(primary.port, fallback.port))
            half = max(1, stage.sessions // 2)
            async with stage.speech(voxtree.url, half) as clock, stage.speech(without.url, half, name="w") as beside:
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
    for percent, seconds in ((50, USUALLY), (99, RARELY)):
        added = _delay(clock.talks, percent) - _delay(beside.talks, percent)
        stage.check(f"delay p{percent} that sinks add", 1000 * added, 1000 * seconds, "ms")


def _delay(talks: Sequence[Talk], percent: float) -> float:
    return percentile([delay for talk in talks for delay in delays(talk)], percent) or 0.0


def _sent(console: str) -> dict[str, float]:
    """What became of alerts, by result, as the server counts it."""
    with urllib.request.urlopen(urljoin(console, "/metrics"), timeout=10) as answer:
        text = answer.read().decode()
    counts: dict[str, float] = {}
    for result, count in _SENT.findall(text):
        counts[result] = counts.get(result, 0.0) + float(count)
    return counts
