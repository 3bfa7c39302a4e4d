"""What the doctor says of keys, certificates and secrets, in real files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.transport.tls.test_certificate import make
from transport.auth.keys import new_key
from transport.cli.doctor_security import examine_security
from transport.riva import Endpoint
from transport.settings import Admin, Auth, Server, Settings, Tls


def said(**settings: object) -> list[str]:
    found = examine_security(Settings(backends=(Endpoint(name="r", address="127.0.0.1:1"),), **settings))  # type: ignore[arg-type]
    return [f"{finding.level.value} {finding.check}: {finding.what}" for finding in found]


def test_who_is_let_in_is_said(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    auth = Auth(mode="keys", keys_file=str(file))
    assert said() == ["ok auth: nobody is asked; 127.0.0.1 is for this machine alone"]
    public = said(server=Server(host="0.0.0.0"), auth=Auth(allow_public=True))
    assert public == ["warn auth: whoever reaches the port may speak"]
    assert said(auth=auth) == [f"FAIL auth: auth.keys_file: {file}: no such file or directory"]
    file.write_text(new_key("ann")[1])
    assert said(auth=auth) == ["ok auth: clients prove who they are (keys)"]


@pytest.mark.parametrize(
    ("days", "says"),
    [(30.5, "ok certificate: it is valid for 30 days"), (3.5, "warn certificate: it is valid for 3 days more"),
     (-0.5, "FAIL certificate: it has expired")],
)  # fmt: skip
def test_a_certificate_that_expires_is_told_ahead(tmp_path: Path, days: float, says: str) -> None:
    certificate, key = make(tmp_path, "cert", days)
    (tmp_path / "key").write_bytes(key)
    (tmp_path / "key").chmod(0o600)
    tls = Tls(cert_file=str(tmp_path / "cert.pem"), key_file=str(tmp_path / "key"))
    assert said(tls=tls)[1:] == [says]
    (tmp_path / "cert.pem").write_bytes(certificate[:100])
    (broken,) = said(tls=tls)[1:]
    assert broken.startswith("FAIL certificate: tls: ")


def test_a_secret_that_everybody_can_read_is_told(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("x" * 40)
    token.chmod(0o644)
    admin = Admin(token_file=str(token))
    assert said(admin=admin)[1:] == [f"warn admin.token_file: every user of this machine can read {token}"]
    token.chmod(0o640)
    assert said(admin=admin)[1:] == []
