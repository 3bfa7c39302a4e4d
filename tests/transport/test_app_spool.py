"""Audio that waits for a backend: what the settings say of it is what sessions do."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.speech.ports import RecognitionConfig
from tests.speech.spools import open_spools
from transport.app import serving
from transport.riva.channel import Endpoint
from transport.settings import Session, Settings

NOWHERE = (Endpoint(name="nowhere", address="127.0.0.1:1"),)


@pytest.mark.anyio
async def test_audio_that_waits_goes_to_the_directory_of_the_settings(tmp_path: Path) -> None:
    wanted = Session(log_seconds=20.0, spool_seconds=10.0, spool_dir=str(tmp_path))
    async with serving(Settings(backends=NOWHERE, session=wanted), private=True) as app:
        session = await app.sessions.open("s", RecognitionConfig(sample_rate=8000))
        for _ in range(25):
            session.record.log.append(bytes(2 * 8000))
        assert open_spools(tmp_path) == [5 * 2 * 8000]
        for _ in range(6):
            session.record.log.append(bytes(2 * 8000))
        assert session.record.log.start == 5 * 8000
        session.disconnected()
    assert open_spools(tmp_path) == []
