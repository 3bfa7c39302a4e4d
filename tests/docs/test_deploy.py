"""What docs/deploy.md says can be done as it says."""

from __future__ import annotations

import re
from pathlib import Path

from actors.speech.audience import RENEW_SECONDS
from bench.plan import DEFAULTS
from tests.docs.examples import ROOT
from transport.settings import load

TEXT = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")


def test_the_settings_of_a_host_are_right_and_agree_with_the_balancers(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    backend = '\n[[backends]]\nname = "riva"\naddress = "riva.example:50051"\n'
    (tmp_path / "voxtree.toml").write_text(block + backend)
    settings = load(tmp_path / "voxtree.toml", environ={}).settings
    balancer = (ROOT / "deploy" / "haproxy" / "haproxy.cfg").read_text()
    assert f'trusted_proxies = ["{settings.server.trusted_proxies[0]}"]' in balancer
    assert f"server a 192.0.2.11:{settings.server.port}\n" in balancer
    assert f" port {settings.admin.port} check " in balancer
    assert f"server 192.0.2.11:{settings.server.port} " in (ROOT / "deploy" / "nginx" / "voxtree.conf").read_text()


def test_everything_that_is_linked_to_is_there() -> None:
    links = {link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", TEXT)} - {""}
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []


def test_the_formulas_have_the_figures_of_the_plan() -> None:
    value = {name: f"{figure:g}" for name, (figure, _) in DEFAULTS.items()}
    assert f"places · {value['fill']})" in TEXT
    assert f"({value['core-mib']} MiB + places · {value['session-mib']} MiB)" in TEXT
    assert f"({value['finals']} finals + {1 / RENEW_SECONDS:g} signs of life)" in TEXT
    assert f"(7,500 · {1 - DEFAULTS['spare'][0]:g})" in TEXT
    assert value["writes"] == "7500"
    table = dict(re.findall(r"^\| `--([a-z-]+)`[^|]* \| ([\d.,]+) \|", TEXT, re.MULTILINE))
    assert {name: figure.replace(",", "") for name, figure in table.items()} == {name: value[name] for name in table}
    assert len(table) == 7
