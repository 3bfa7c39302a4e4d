"""What a server is made of."""

from __future__ import annotations

import logging

import pytest

from actors.speech.errors import StreamLost
from actors.speech.injection import Opportunity
from transport.app import App
from transport.riva.channel import Endpoint
from transport.settings import Inject, Settings

BACKEND = Endpoint(name="riva", address="127.0.0.1:1")


def app(**rates: float) -> App:
    return App(Settings(backends=(BACKEND,), inject=Inject(rates=rates, seed=1)))


@pytest.mark.parametrize("rates", [{}, {"RIVA_005": 0.0}])
def test_nothing_is_injected_unasked(rates: dict[str, float], caplog: pytest.LogCaptureFixture) -> None:
    assert app(**rates).faults is None
    assert caplog.records == []


def test_injection_is_announced_loudly_and_each_fault_logged(caplog: pytest.LogCaptureFixture) -> None:
    faults = app(RIVA_005=1.0).faults
    assert faults is not None
    assert type(faults.draw(Opportunity.STREAMING, "s1/1", endpoint="riva")) is StreamLost
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.WARNING,
            "ERRORS ARE INJECTED ON PURPOSE: RIVA_005 at 1 for each second of audio that a backend is sent",
        ),
        (logging.WARNING, "injected into s1/1: RIVA_005 RIVA_STREAM_LOST: injected, endpoint 'riva'"),
    ]


def test_a_seed_brings_the_same_faults_again() -> None:
    def drawn() -> list[bool]:
        faults = app(RIVA_005=0.5).faults
        assert faults is not None
        return [faults.draw(Opportunity.STREAMING, "s1/1") is None for _ in range(50)]

    assert drawn() == drawn()
