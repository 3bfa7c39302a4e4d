"""Encrypted doors, met by real clients, and the certificate replaced while they speak."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import grpc
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidMessage

from bench.certificates import self_signed
from transport.app import App, serving
from transport.layers import SettingsError
from transport.reload import reload
from transport.riva import Endpoint
from transport.settings import Dialects, Settings, Tls
from transport.tls import Certificate, certificate

pytestmark = pytest.mark.anyio

NOWHERE = Endpoint(name="nowhere", address="127.0.0.1:1")
START = '{"event":"start","config":{"sample_rate":16000}}'


def make(folder: Path, name: str, days: float = 30.0) -> tuple[bytes, bytes]:
    """A certificate and its key; the former as a file, too, for those who trust it."""
    pem = self_signed(name, days)
    (folder / f"{name}.pem").write_bytes(pem[0])
    return pem


class Files:
    """Where the server has its pair."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cert, self.key = folder / "cert.pem", folder / "key.pem"
        self.first = self.renew("first")

    @property
    def tls(self) -> Tls:
        return Tls(cert_file=str(self.cert), key_file=str(self.key))

    def renew(self, name: str, days: float = 30.0) -> bytes:
        cert, key = make(self.folder, name, days)
        self.cert.write_bytes(cert)
        self.key.write_bytes(key)
        return cert


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def trusting(*authorities: bytes) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata="".join(each.decode() for each in authorities))
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    return context


def port(app: App) -> int:
    return int(app.url.rpartition(":")[2].partition("/")[0])


def shown(at: int) -> str:
    """The common name of the certificate that a new connection is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", at), timeout=5) as plain,
        closing(context.wrap_socket(plain)) as client,
    ):
        found = x509.load_der_x509_certificate(client.getpeercert(binary_form=True) or b"")
    return str(found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


async def seen(app: App) -> str:
    return await anyio.to_thread.run_sync(shown, port(app))


async def said(client: Any) -> str:
    return str(json.loads(await client.recv())["event"])


async def test_clients_speak_encrypted_and_nobody_speaks_otherwise(files: Files) -> None:
    async with serving(Settings(backends=(NOWHERE,), tls=files.tls), private=True) as app:
        assert app.url.startswith("wss://127.0.0.1:")
        url = f"wss://localhost:{port(app)}/transcribe"
        async with connect(url, ssl=trusting(files.first), host="127.0.0.1") as client:
            await client.send(START)
            assert await said(client) == "ready"
        with pytest.raises((OSError, InvalidMessage)):
            async with connect(f"ws://127.0.0.1:{port(app)}/transcribe", open_timeout=3):
                pass
        assert app.certificate is not None
        assert app.certificate.context.minimum_version is ssl.TLSVersion.TLSv1_2


async def test_a_new_certificate_is_for_new_connections_and_old_ones_live_on(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificate, "CHECK_SECONDS", 0.02)
    settings = Settings(backends=(NOWHERE,), tls=files.tls, dialects=Dialects(riva_port=0))
    async with serving(settings, private=True) as app:
        url = f"wss://localhost:{port(app)}/transcribe"
        async with connect(url, ssl=trusting(files.first), host="127.0.0.1") as client:
            await client.send(START)
            assert await said(client) == "ready"
            second = files.renew("second", days=3)
            with anyio.fail_after(10):
                while await seen(app) != "second":  # noqa: ASYNC110  (nothing tells that a file was read)
                    await anyio.sleep(0.02)
            await client.send(START)  # once more, which is answered by an error
            assert await said(client) in ("error", "status")
        assert app.registry.get_sample_value(
            "voxtree_certificate_expiry_seconds", {"certificate": "clients"}
        ) == pytest.approx(3 * 86400, abs=60)
        door = app.other_doors()["riva over gRPC"]
        options = (("grpc.ssl_target_name_override", "localhost"),)
        credentials = grpc.ssl_channel_credentials(second)
        async with grpc.aio.secure_channel(f"{door.host}:{door.port}", credentials, options=options) as channel:
            async with asyncio.timeout(5):
                await channel.channel_ready()


async def test_files_that_do_not_fit_each_other_change_nothing_and_are_told(
    files: Files, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(certificate, "CHECK_SECONDS", 0.02)
    settings = Settings(backends=(NOWHERE,), tls=files.tls)
    async with serving(settings, private=True) as app:
        files.cert.write_bytes(make(files.folder, "another")[0])
        with anyio.fail_after(10):
            while "SYS_006" not in caplog.text:  # noqa: ASYNC110  (nor that it was refused, but the log)
                await anyio.sleep(0.02)
        assert "the certificate in use stays" in caplog.text
        assert await reload(app, settings, lambda: settings) is settings
        assert app.registry.get_sample_value("voxtree_config_last_reload_successful") == 0
        assert await seen(app) == "first"


async def test_sighup_takes_a_new_certificate_at_once(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    settings = Settings(backends=(NOWHERE,), tls=files.tls)
    async with serving(settings, private=True) as app:
        files.renew("second")
        await reload(app, settings, lambda: settings)
        assert await seen(app) == "second"
    assert "another certificate is in use; it is valid for 30 days" in caplog.text


async def test_a_client_needs_a_certificate_of_its_own_where_that_is_wanted(files: Files) -> None:
    _, key = make(files.folder, "client")
    (files.folder / "client.key").write_bytes(key)
    tls = Tls(cert_file=str(files.cert), key_file=str(files.key), client_ca_file=str(files.folder / "client.pem"))
    async with serving(Settings(backends=(NOWHERE,), tls=tls), private=True) as app:
        url = f"wss://localhost:{port(app)}/transcribe"
        with pytest.raises((OSError, InvalidMessage)):
            async with connect(url, ssl=trusting(files.first), host="127.0.0.1"):
                pass
        known = trusting(files.first)
        known.load_cert_chain(files.folder / "client.pem", files.folder / "client.key")
        async with connect(url, ssl=known, host="127.0.0.1"):
            pass


@pytest.mark.parametrize("broken", ["cert", "key"])
async def test_files_that_cannot_be_used_are_told_at_the_start(files: Files, broken: str) -> None:
    getattr(files, broken).write_text("nonsense")
    with pytest.raises(SettingsError, match=r"tls: .* cannot be used"):
        Certificate(files.tls)


@pytest.mark.parametrize("given", [{"cert_file": "a"}, {"key_file": "a"}, {"client_ca_file": "a"}])
async def test_a_pair_is_a_pair(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"belong together|needs a cert_file"):
        Tls(**given)
