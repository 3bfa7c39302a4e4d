"""The sinks that the settings ask for; their secrets are read here."""

from __future__ import annotations

from pathlib import Path

from transport.alerts.alertmanager import Alertmanager
from transport.alerts.delivery import Manners
from transport.alerts.pagerduty import URL, PagerDuty
from transport.alerts.port import Dialect
from transport.alerts.slack import Slack
from transport.alerts.webhook import Webhook
from transport.settings import Alerts as AlertSettings
from transport.settings import AlertSink, SettingsError

SCHEMES = ("http://", "https://")


def make_dialect(wanted: AlertSink, runbook: str | None, where: str) -> Dialect:
    """How to speak with a sink.

    Args:
        where: the setting's path, for messages: `alerts.sinks.0`.

    Raises:
        SettingsError: a file with a secret cannot be used. What is in it is not told.
    """
    url = _secret(wanted.url_file, f"{where}.url_file") or wanted.url or URL
    if not url.startswith(SCHEMES):
        raise SettingsError(f"{where}.url_file: what it holds does not begin with http:// or https://")
    key = _secret(wanted.key_file, f"{where}.key_file")
    match wanted.type:
        case "pagerduty":
            return PagerDuty(key or "", url=url, runbook=runbook)
        case "slack":
            return Slack(url, runbook=runbook)
        case "alertmanager":
            return Alertmanager(url, wanted.interval, key=key, runbook=runbook)
        case "webhook":
            return Webhook(url, key=key, runbook=runbook)


def make_dialects(settings: AlertSettings) -> list[Dialect]:
    """Of all sinks, in their order. Raises as `make_dialect` does."""
    return [
        make_dialect(sink, settings.runbook, f"alerts.sinks.{number}") for number, sink in enumerate(settings.sinks)
    ]


def make_manners(wanted: AlertSink, dialect: Dialect) -> Manners:
    """How a sink wants to be treated."""
    return Manners(
        least=wanted.least,
        per_minute=wanted.per_minute,
        burst=dialect.burst,
        capacity=wanted.queue,
        batch=dialect.batch,
        interval=None if dialect.remembers else wanted.interval,
    )


def _secret(file: str | None, where: str) -> str | None:
    if file is None:
        return None
    try:
        text = Path(file).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or "cannot be read").lower() if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"{where}: {file}: {reason}") from None
    if not text or any(each.isspace() or not each.isprintable() for each in text):
        raise SettingsError(f"{where}: {file}: one line without spaces is wanted")
    return text
