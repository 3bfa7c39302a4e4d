"""The settings of [alerts]: what is refused, in which words, and that secrets come from files and stay there."""

from __future__ import annotations

from pathlib import Path

import pytest

from transport.alerts import make_dialects
from transport.alerts.making import make_manners
from transport.layers import SettingsError, from_option, is_secret
from transport.settings import AlertSink, Settings, load

ONE = ["alerts.sinks.0.name=oncall", "alerts.sinks.0.type=webhook", "alerts.sinks.0.url=http://127.0.0.1/"]


def loaded(*options: str) -> Settings:
    return load(options=[from_option(option) for option in options], environ={}).settings


def problem(*options: str) -> str:
    with pytest.raises(SettingsError) as caught:
        loaded(*options)
    (line,) = caught.value.problems
    return line


def test_without_sinks_nothing_is_set() -> None:
    assert loaded().alerts.sinks == ()


def test_sinks_are_read_from_a_file(tmp_path: Path) -> None:
    config = tmp_path / "voxtree.toml"
    config.write_text(
        """
        [alerts]
        host = "gw-1"
        [[alerts.sinks]]
        name = "oncall"
        type = "pagerduty"
        key_file = "/run/secrets/pagerduty"
        min_severity = "critical"
        """
    )
    alerts = load(config, environ={}).settings.alerts
    assert alerts.host == "gw-1"
    assert alerts.sinks == (
        AlertSink(name="oncall", type="pagerduty", key_file="/run/secrets/pagerduty", min_severity="critical"),
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["alerts.sinks.0.type=slack"], "--set: alerts.sinks.0.name: is missing"),
        (
            ["alerts.sinks.0.name=x", "alerts.sinks.0.type=smtp"],
            '--set: alerts.sinks.0.type: expected one of pagerduty, slack, alertmanager, webhook, got "smtp"',
        ),
        (
            ["alerts.sinks.0.name=x", "alerts.sinks.0.type=slack"],
            "--set: alerts.sinks.0: type = slack takes a url or a url_file",
        ),
        (
            ["alerts.sinks.0.name=x", "alerts.sinks.0.type=pagerduty"],
            "--set: alerts.sinks.0: type = pagerduty takes a key_file, which holds the routing key",
        ),
        (
            [*ONE, "alerts.sinks.0.url_file=/x"],
            "--set: alerts.sinks.0: it takes a url or a url_file, and not both",
        ),
        (
            [*ONE[:2], "alerts.sinks.0.url=file:///etc/passwd"],
            "--set: alerts.sinks.0: url begins with http:// or https://",
        ),
        ([*ONE, "alerts.sinks.0.url="], "--set: alerts.sinks.0.url: expected str of length >= 1, got ********"),
        ([*ONE, "alerts.sinks.0.queue=0"], '--set: alerts.sinks.0.queue: expected int >= 1, got "0"'),
        ([*ONE, "alerts.sinks.0.min_severity=loud"], "--set: alerts.sinks.0.min_severity: expected one of info, "
            'warning, error, critical, got "loud"'),
        ([*ONE, "alerts.sinks.0.key=abc"], "--set: alerts.sinks.0.key: unknown setting"),
        (
            [*ONE, *(each.replace(".0.", ".1.") for each in ONE)],
            "--set: alerts: sinks: 2 are named 'oncall', each needs a name of its own",
        ),
        (["alerts.quiet=0"], '--set: alerts.quiet: expected float >= 1.0, got "0"'),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(options: list[str], expected: str) -> None:
    assert problem(*options) == expected


def test_a_sinks_address_is_masked() -> None:
    assert is_secret("alerts.sinks.0.url")
    assert not is_secret("alerts.sinks.0.url_file")


SECRET = "not-a-url-but-a-secret"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "alerts.sinks.0.url_file: {file}: no such file or directory"),
        (b"\xff\xfe", "alerts.sinks.0.url_file: {file}: it is not UTF-8 text"),
        (b"\n", "alerts.sinks.0.url_file: {file}: one line without spaces is wanted"),
        (b"http://a b", "alerts.sinks.0.url_file: {file}: one line without spaces is wanted"),
        (b"http://a\nhttp://b", "alerts.sinks.0.url_file: {file}: one line without spaces is wanted"),
        (SECRET.encode(), "alerts.sinks.0.url_file: what it holds does not begin with http:// or https://"),
    ],
)
def test_a_file_that_holds_no_secret_is_named_and_what_it_holds_is_not(
    content: bytes | None, expected: str, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    settings = loaded(*ONE[:1], "alerts.sinks.0.type=slack", f"alerts.sinks.0.url_file={file}")
    with pytest.raises(SettingsError) as caught:
        make_dialects(settings.alerts)
    assert str(caught.value) == expected.format(file=file)
    assert SECRET not in str(caught.value)


def test_slack_gets_a_message_a_second_at_most_and_alertmanager_is_told_again(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("https://hooks.example/x\n")
    settings = loaded(
        "alerts.sinks.0.name=chat",
        "alerts.sinks.0.type=slack",
        f"alerts.sinks.0.url_file={tmp_path / 'url'}",
        "alerts.sinks.1.name=am",
        "alerts.sinks.1.type=alertmanager",
        "alerts.sinks.1.url=http://am:9093",
    ).alerts
    slack, alertmanager = (
        make_manners(sink, dialect) for sink, dialect in zip(settings.sinks, make_dialects(settings), strict=True)
    )
    assert (slack.per_minute, slack.burst, slack.batch, slack.interval) == (60.0, 1, False, None)
    assert (alertmanager.batch, alertmanager.interval) == (True, 60.0)
