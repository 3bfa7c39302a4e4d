"""`voxtree alerts test`, and what `voxtree doctor` says of [alerts]."""

from __future__ import annotations

import argparse
from pathlib import Path

import anyio
import pytest

from bench.alert_sink import AlertSink
from transport.cli import doctor
from transport.cli.main import main

pytestmark = pytest.mark.anyio


async def test_every_sink_is_told_and_its_answer_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "key").write_text("r0uting-key")
    async with AlertSink(202) as pagerduty, AlertSink(403) as hook:
        options = [
            "alerts.host=gw-1",
            "alerts.sinks.0.name=oncall",
            "alerts.sinks.0.type=pagerduty",
            f"alerts.sinks.0.url={pagerduty.url}",
            f"alerts.sinks.0.key_file={tmp_path / 'key'}",
            "alerts.sinks.1.name=hook",
            "alerts.sinks.1.type=webhook",
            f"alerts.sinks.1.url={hook.url}",
            "alerts.sinks.2.name=gone",
            "alerts.sinks.2.type=alertmanager",
            "alerts.sinks.2.url=http://127.0.0.1:1",
        ]
        arguments = [argument for option in options for argument in ("--set", option)]
        code = await anyio.to_thread.run_sync(main, ["alerts", "test", *arguments])
    assert (code, capsys.readouterr().out.splitlines()) == (
        1,
        [
            "ok    oncall (pagerduty), firing: it answered 202",
            "ok    oncall (pagerduty), resolved: it answered 202",
            "FAIL  hook (webhook), firing: it answered 403",
            "FAIL  hook (webhook), resolved: it answered 403",
            "FAIL  gone (alertmanager), firing: connection refused",
            "FAIL  gone (alertmanager), resolved: connection refused",
        ],
    )
    assert [body["event_action"] for body in pagerduty.bodies] == ["trigger", "resolve"]
    assert len({body["dedup_key"] for body in pagerduty.bodies}) == 1


def test_without_sinks_there_is_nothing_to_test(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["alerts", "test"]) == 2
    assert capsys.readouterr().err == (
        "voxtree: there are no sinks in [alerts]; docs/operations.md tells how to add one\n"
    )


@pytest.mark.parametrize(("content", "level"), [("http://127.0.0.1:1/x", "ok"), (None, "FAIL")])
def test_the_doctor_reads_the_secrets_and_sends_nothing(content: str | None, level: str, tmp_path: Path) -> None:
    file = tmp_path / "url"
    if content is not None:
        file.write_text(content)
    parser = argparse.ArgumentParser()
    doctor.add_arguments(parser)
    options = ("alerts.sinks.0.name=chat", "alerts.sinks.0.type=slack", f"alerts.sinks.0.url_file={file}")
    args = parser.parse_args([argument for option in options for argument in ("--set", option)])
    (found,) = [finding for finding in doctor.examine(args) if finding.check == "alerts"]
    assert found.level.value == level
    assert ("chat (slack)" in found.what) == (content is not None)
