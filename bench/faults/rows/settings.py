"""The settings change while clients speak: what cannot be used changes nothing, and what can is used at once."""

from __future__ import annotations

import asyncio
import re
import signal
import urllib.request
from pathlib import Path
from urllib.parse import urljoin

from bench.faults.players import Voxtree
from bench.faults.stage import Stage
from bench.faults.talk import Talk

PATIENCE = 10.0  # seconds until a file has been read
LOOK = 0.1  # seconds
RUBBISH = (
    ("no TOML", "[server\n"),
    ("an unknown setting", "server.prot = 8600\n"),
    ("a value that cannot be", "session.max_sessions = -1\n"),
    ("no backend at all", "embedded.enabled = false\n"),
)
_NOT_RELOADED = re.compile(r'^transcription_errors_total{error_code="SYS_006",.*} (\S+)$', re.MULTILINE)


async def reloaded(stage: Stage) -> None:
    """Files that cannot be used, one after the other, then a good one; each is read on SIGHUP."""
    _, _, voxtree = await stage.usual()
    (path,) = stage.folder.glob("voxtree-*.toml")
    good = path.read_text()
    async with stage.speech(voxtree.url) as clock:
        for number, (what, text) in enumerate(RUBBISH):
            await clock.at((number + 1) / (len(RUBBISH) + 2))
            stage.details.append({"file": what, "right": await _read(voxtree, path, text, is_good=False)})
        await clock.at((len(RUBBISH) + 1) / (len(RUBBISH) + 2))
        changed = good.replace("[[backends]]", "session.idle_timeout = 50.0\n[[backends]]", 1)
        stage.details.append({"file": "a good one", "right": await _read(voxtree, path, changed, is_good=True)})
    stage.check("files that were not taken as they should be", sum(not row["right"] for row in stage.details), 0)
    stage.check("sessions that were dropped", sum(talk.failure is not None for talk in stage.talks), 0)
    stage.check("connections that were lost", sum(_lost(talk) for talk in stage.talks), 0)


def _lost(talk: Talk) -> int:
    return sum(heard.event == "reconnecting" for heard in talk.heard)


async def _read(voxtree: Voxtree, path: Path, text: str, *, is_good: bool) -> bool:
    """Whether the server says of the new file what it should; within `PATIENCE`."""
    before = await asyncio.to_thread(_refused, voxtree.console)
    await asyncio.to_thread(path.write_text, text)
    voxtree.process.signal(signal.SIGHUP)
    for _ in range(round(PATIENCE / LOOK)):
        await asyncio.sleep(LOOK)
        if is_good:
            if any("settings reloaded" in line.msg for line in voxtree.log):
                return True
        elif await asyncio.to_thread(_refused, voxtree.console) == before + 1:
            return True
    return False


def _refused(console: str) -> float:
    """How many reloads could not be used, as the server counts them: its log holds repeats back."""
    with urllib.request.urlopen(urljoin(console, "/metrics"), timeout=10) as answer:
        found = _NOT_RELOADED.search(answer.read().decode())
    return float(found[1]) if found else 0.0
