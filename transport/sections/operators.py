"""What operators see: the admin port, alerts, the log, traces."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

import msgspec

from actors.speech.catalogue import Severity
from transport.sections.values import Port, Seconds, Text, is_loopback


class Admin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where operators look: metrics, health, the state of everything, and the console.

    Attributes:
        enabled: whether there is such a port.
        host: address to listen on, or `unix:PATH` for a socket that only this user can reach. An address that other
            machines reach takes a `token_file`.
        port: 0 lets the system pick one.
        names: host names, besides `localhost` and addresses, by which browsers may call it (`voxtree.internal`).
        token_file: a file with the secret that is then asked for: `Authorization: Bearer` of scrapers, and for browsers
            a login link that works once, which `voxtree serve` prints and `voxtree observe --login` makes anew.
        actions: whether the console may also restart, drain, trip and close, all of which is logged.
    """

    enabled: bool = True
    host: Text = "127.0.0.1"
    port: Port = 8601
    names: tuple[Text, ...] = ()
    token_file: Text | None = None
    actions: bool = False

    def __post_init__(self) -> None:
        if self.enabled and self.token_file is None and not is_loopback(self.host):
            raise ValueError(f"host {self.host} can be reached from other machines: that takes a token_file")


class AlertSink(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One place that alerts are sent to, `[[alerts.sinks]]` in the file.

    Attributes:
        name: for logs and metrics.
        type: whose protocol it speaks; `webhook` is voxtree's own JSON.
        url: where it is; with Slack a secret. PagerDuty's is known. Alertmanager's is its root, `http://HOST:9093`.
        url_file: a file that holds it instead.
        key_file: a file with PagerDuty's routing key; the others send what is in it as a bearer token.
        min_severity: what is less severe is not sent there.
        per_minute: requests, at most.
        queue: alerts that wait while it does not take them; beyond it the oldest is dropped.
        timeout: seconds for one request.
        interval: seconds after which Alertmanager is told again of what lasts; after three without it takes it as over.
    """

    name: Text
    type: Literal["pagerduty", "slack", "alertmanager", "webhook"]
    url: Text | None = None
    url_file: Text | None = None
    key_file: Text | None = None
    min_severity: Literal["info", "warning", "error", "critical"] = "warning"
    per_minute: Annotated[float, msgspec.Meta(gt=0, le=600)] = 60.0
    queue: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
    timeout: Annotated[float, msgspec.Meta(gt=0, le=60)] = 10.0
    interval: Seconds = 60.0

    def __post_init__(self) -> None:
        if self.url is not None and self.url_file is not None:
            raise ValueError("it takes a url or a url_file, and not both")
        if self.type == "pagerduty" and self.key_file is None:
            raise ValueError("type = pagerduty takes a key_file, which holds the routing key")
        if self.type != "pagerduty" and self.url is None and self.url_file is None:
            raise ValueError(f"type = {self.type} takes a url or a url_file")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError("url begins with http:// or https://")

    @property
    def least(self) -> Severity:
        """`min_severity` as the catalogue has it."""
        return Severity(self.min_severity.upper())


class Alerts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is told by voxtree itself that something is wrong, and that it is over.

    Attributes:
        host: what this server is called in alerts; None: the machine's name.
        quiet: seconds without it after which an error that just happened counts as over.
        runbook: where errors are explained, a URL to which `#` and the code in small letters are added; None: no link.
            What to do is in an alert's text in any case.
        sinks: without any, nothing is watched for and nothing sent.
    """

    host: Text | None = None
    quiet: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 300.0
    runbook: Text | None = None
    sinks: tuple[AlertSink, ...] = ()

    def __post_init__(self) -> None:
        for name, times in Counter(sink.name for sink in self.sinks).items():
            if times > 1:
                raise ValueError(f"sinks: {times} are named {name!r}, each needs a name of its own")


class Log(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is logged, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json", "ecs"] = "text"


class Tracing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Spans for OpenTelemetry; needs the extra `tracing`.

    Attributes:
        enabled: whether any are made.
        endpoint: where they are sent, by OTLP over HTTP.
        service: what this server is called there.
    """

    enabled: bool = False
    endpoint: Text = "http://127.0.0.1:4318/v1/traces"
    service: Text = "voxtree"
