"""From a backend's death to whoever is on call, and back: by the built-in notifier, and by Prometheus."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.alert_sink import AlertSink
from bench.riva import Plan, RivaProcess
from tests.system.test_command_line import VOXTREE

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("prometheus") is None or shutil.which("prometheus-alertmanager") is None,
        reason="needs Debian's prometheus and prometheus-alertmanager",
    ),
]

SECONDS = 90  # for what takes twenty; only a hang gets there
SECRET = "R0UT1NGKEY-that-nobody-else-may-see"
RULES = """\
groups:
  - name: test
    rules:
      - alert: TestBackendDown
        expr: voxtree_backend_up == 0
        labels: {severity: page}
"""
PROMETHEUS = """\
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
alerting: {alertmanagers: [{static_configs: [{targets: ["127.0.0.1:%(alertmanager)d"]}]}]}
scrape_configs: [{job_name: voxtree, static_configs: [{targets: ["127.0.0.1:%(admin)d"]}]}]
"""
ALERTMANAGER = """\
route: {receiver: hook, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}
receivers: [{name: hook, webhook_configs: [{url: "%s/hook", send_resolved: true}]}]
"""
SETTINGS = """\
[server]
port = 0
[admin]
port = %(admin)d
[journal]
store = "memory"
[[backends]]
name = "riva-a"
address = "127.0.0.1:%(riva)d"
[alerts]
host = "gw-1"
[[alerts.sinks]]
name = "pagerduty"
type = "pagerduty"
url = "%(pagerduty)s/v2/enqueue"
key_file = "%(key)s"
[[alerts.sinks]]
name = "slack"
type = "slack"
url = "%(slack)s/services/x"
[[alerts.sinks]]
name = "alertmanager"
type = "alertmanager"
url = "http://127.0.0.1:%(alertmanager)d"
interval = 5
"""


@asynccontextmanager
async def running(*command: object) -> AsyncGenerator[None, None]:
    process = await asyncio.create_subprocess_exec(*map(str, command), stdout=-3, stderr=-3)
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    holders = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()
    return ports


def told(hook: AlertSink) -> set[tuple[str, str]]:
    """What Alertmanager's webhook was told: names of alerts, and `firing` or `resolved`."""
    return {
        (alert["labels"]["alertname"], alert["status"])
        for body in hook.bodies
        for alert in (body or {}).get("alerts", ())  # whoever had this port before may have a visitor
        if alert["labels"].get("component", alert["labels"].get("backend")) in ("backend:riva-a", "riva-a")
    }


async def test_a_backend_that_dies_and_comes_back_is_told_to_everybody(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack, asyncio.timeout(SECONDS):
        pagerduty, slack, hook = [await stack.enter_async_context(AlertSink()) for _ in range(3)]
        riva = await stack.enter_async_context(RivaProcess(Plan()))
        admin, alertmanager, prometheus = free_ports(3)
        key = tmp_path / "key"
        key.write_text(SECRET)
        facts: dict[str, Any] = {"admin": admin, "alertmanager": alertmanager, "riva": riva.port, "key": key}
        facts |= {"pagerduty": pagerduty.url, "slack": slack.url}
        (tmp_path / "voxtree.toml").write_text(SETTINGS % facts)
        (tmp_path / "rules.yml").write_text(RULES)
        (tmp_path / "prometheus.yml").write_text(PROMETHEUS % facts)
        (tmp_path / "alertmanager.yml").write_text(ALERTMANAGER % hook.url)
        await stack.enter_async_context(running(
            "prometheus-alertmanager", f"--config.file={tmp_path / 'alertmanager.yml'}", "--cluster.listen-address=",
            f"--web.listen-address=127.0.0.1:{alertmanager}", f"--storage.path={tmp_path / 'alertmanager'}",
        ))  # fmt: skip
        await stack.enter_async_context(running(
            "prometheus", f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{prometheus}",
        ))  # fmt: skip
        await stack.enter_async_context(running(*VOXTREE, "serve", "--config", tmp_path / "voxtree.toml"))
        await _answers(admin, 'voxtree_backend_up{backend="riva-a"} 1.0')
        await _answers(prometheus, '"value":[', "/api/v1/query?query=voxtree_backend_up==1")

        await riva.kill()
        (trigger, *_) = await pagerduty.until(len)
        await slack.until(len)
        await hook.until(lambda _: len(told(hook)) == 2)
        await riva.start()
        # That there is no backend at all may be an alert of its own, and end at another time.
        await pagerduty.until(lambda bodies: _ended(bodies, trigger["dedup_key"]))
        await slack.until(lambda bodies: "[resolved]" in bodies[-1]["text"])
        await hook.until(lambda _: len(told(hook)) == 4)

        assert (trigger["routing_key"], trigger["event_action"]) == (SECRET, "trigger")
        assert trigger["payload"]["component"] == "backend:riva-a"
        names = {name for name, _ in told(hook)}
        assert {status for _, status in told(hook)} == {"firing", "resolved"}
        assert "TestBackendDown" in names
        assert any(name.startswith("voxtree_") for name in names)
        assert SECRET not in str([*slack.bodies, *hook.bodies])


async def _answers(port: int, text: str, path: str = "/metrics") -> None:
    """Wait until what is at the port says this."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
            answer = (await reader.read()).decode()
            writer.close()
        except OSError:
            answer = ""
        if text in answer:
            return
        await asyncio.sleep(0.2)


def _ended(bodies: list[dict[str, Any]], alert: str) -> bool:
    return any((body["dedup_key"], body["event_action"]) == (alert, "resolve") for body in bodies)
