"""The settings change while clients speak: what cannot be used changes nothing, and what can is used at once."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import ssl
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin

from bench.certificates import self_signed
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


async def renewed(stage: Stage) -> None:
    """Clients speak over TLS; the server's certificate is replaced, by one that fits no key, then by a good one."""
    cert, key, trusted = (stage.folder / name for name in ("cert.pem", "key.pem", "trusted.pem"))
    first, second, third = (self_signed(name) for name in ("first", "second", "third"))
    cert.write_bytes(first[0])
    key.write_bytes(first[1])
    trusted.write_bytes(first[0] + second[0] + third[0])
    _, _, voxtree = await stage.usual(settings={"tls.cert_file": str(cert), "tls.key_file": str(key)})
    with _environment("SSL_CERT_FILE", str(trusted)):
        async with stage.speech(voxtree.url) as clock:
            await clock.at(0.25)
            await asyncio.to_thread(cert.write_bytes, second[0])  # with the key of the first
            refused = await asyncio.to_thread(_refused, voxtree.console)
            voxtree.process.signal(signal.SIGHUP)
            noticed = await _soon(lambda: asyncio.to_thread(_refused, voxtree.console), refused + 1)
            stage.check("bad pairs that were not noticed", int(not noticed), 0)
            stage.check("bad pairs that were shown", int(await _shown(voxtree.port, trusted) != first[0]), 0)
            await clock.at(0.5)
            await asyncio.to_thread(cert.write_bytes, third[0])
            await asyncio.to_thread(key.write_bytes, third[1])
            voxtree.process.signal(signal.SIGHUP)
            used = await _soon(lambda: _shown(voxtree.port, trusted), third[0])
            stage.check("good pairs that were not used", int(not used), 0)
    stage.check("sessions that were dropped", sum(talk.failure is not None for talk in stage.talks), 0)
    stage.check("connections that were lost", sum(_lost(talk) for talk in stage.talks), 0)


async def _soon(look: Callable[[], Awaitable[object]], wanted: object) -> bool:
    """Whether it comes to that within `PATIENCE`."""
    for _ in range(round(PATIENCE / LOOK)):
        await asyncio.sleep(LOOK)
        if await look() == wanted:
            return True
    return False


async def _shown(port: int, trusted: Path) -> bytes:
    """The certificate that a new connection is shown, as PEM."""
    context = ssl.create_default_context(cafile=str(trusted))
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return ssl.DER_cert_to_PEM_cert(found).encode()


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """A variable of this process while the context is open."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


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
