from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest

from actors.speech import errors
from actors.speech.ports import RecognitionConfig, Tier
from tests.transport.riva_server import RivaServer
from transport.riva import Endpoint, RivaBackend
from transport.riva.channel import connection, credentials, with_secrets


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"name": ""}, "name is empty"),
        ({"address": "http://riva:50051"}, "must be host:port, without http://"),
        ({"address": "riva"}, "names no port"),
        ({"ca_file": "ca.pem"}, "need tls = true"),
        ({"tls": True, "cert_file": "a.pem"}, "belong together"),
        ({"max_streams": 0}, "max_streams must be at least 1"),
        ({"catch_up": 0.5}, "catch_up must be at least 1"),
        ({"max_stream_age": 0.0}, "max_stream_age must be above 0"),
        ({"step": 2.0}, "step must be 0 to 1"),
        ({"sample_rate": 4000}, "sample_rate must be 8000 to 48000"),
        ({"metadata": {"Authorization": "x"}}, "metadata names must be lower case"),
        ({"stall_timeout": 0.0}, "timeouts must be above 0"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_name(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Endpoint(**({"name": "riva", "address": "riva:50051"} | settings))


def test_an_endpoint_is_read_from_configuration() -> None:
    settings = {
        "name": "a",
        "address": "unix:///run/riva.sock",
        "tier": "fallback",
        "metadata": {"function-id": "f"},
    }
    assert msgspec.convert(settings, Endpoint) == Endpoint(
        name="a", address="unix:///run/riva.sock", tier=Tier.FALLBACK, metadata={"function-id": "f"}
    )


def test_an_endpoint_does_not_show_its_keys() -> None:
    endpoint = Endpoint(name="a", address="h:1", metadata={"authorization": "Bearer nvapi-secret"})
    assert repr(endpoint) == "Endpoint('a', 'h:1', primary, metadata=['authorization'])"


# ---- certificates


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Paths of `localhost` and `other`: a self-signed certificate (`.pem`) and key (`.key`) each."""
    if shutil.which("openssl") is None:
        pytest.skip("makes certificates with openssl")
    folder = tmp_path_factory.mktemp("pem")
    for name in ("localhost", "other"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}", "-days", "2",
             "-addext", f"subjectAltName=DNS:{name}"],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
    (folder / "broken.pem").write_text("not a certificate")
    return {path.name: str(path) for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"ca_file": "/nowhere/ca.pem"}, r"ca_file \(/nowhere/ca.pem\) cannot be used: No such file"),
        ({"ca_file": "broken.pem"}, r"ca_file \(.*broken.pem\) cannot be used: "),
        ({"cert_file": "localhost.pem", "key_file": "other.key"}, "cert_file and key_file .* mismatch"),
    ],
)
def test_a_certificate_that_cannot_be_used_stops_the_start(
    pem: Mapping[str, str], settings: dict[str, str], problem: str
) -> None:
    paths: dict[str, Any] = {key: pem.get(value, value) for key, value in settings.items()}
    with pytest.raises(ValueError, match=f"(?i)endpoint 'riva': {problem}"):
        RivaBackend(Endpoint(name="riva", address="h:1", tls=True, **paths))


def test_usable_certificates_are_credentials(pem: Mapping[str, str]) -> None:
    endpoint = Endpoint(
        name="riva", address="h:1", tls=True,
        ca_file=pem["localhost.pem"], cert_file=pem["other.pem"], key_file=pem["other.key"],
    )  # fmt: skip
    assert isinstance(credentials(endpoint), grpc.ChannelCredentials)


def test_only_endpoints_that_agree_in_all_a_channel_is_made_of_can_share_one(pem: Mapping[str, str]) -> None:
    folder = Path(pem["localhost.pem"]).parent
    ours = folder / "ours.pem"
    ours.write_bytes(Path(pem["localhost.pem"]).read_bytes())
    endpoint = Endpoint(name="a", address="localhost:1", tls=True, ca_file=str(ours))
    before = connection(endpoint)
    assert connection(msgspec.structs.replace(endpoint, max_streams=1, metadata={"k": "v"})) == before
    assert connection(msgspec.structs.replace(endpoint, address="localhost:2")) != before
    ours.write_bytes(Path(pem["other.pem"]).read_bytes())  # exchanged under the same name
    assert connection(endpoint) != before
    ours.unlink()
    with pytest.raises(ValueError, match=r"endpoint 'a': ca_file .* cannot be used: No such file"):
        connection(endpoint)


def server_credentials(pem: Mapping[str, str], client: str) -> Any:
    """Those of `localhost`, which admits whoever has the certificate of `client`."""
    key, certificate, theirs = (
        Path(pem[name]).read_bytes() for name in ("localhost.key", "localhost.pem", f"{client}.pem")
    )
    return grpc.ssl_server_credentials([(key, certificate)], theirs, require_client_auth=True)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("host", "ca", "client", "error"),
    [
        ("localhost", "localhost.pem", "other", None),
        ("localhost", "other.pem", "other", errors.NotAuthorized),  # not the authority that signed
        ("127.0.0.1", "localhost.pem", "other", errors.NotAuthorized),  # not the name in the certificate
    ],
)
async def test_mutual_tls_admits_whom_it_should(
    pem: Mapping[str, str], host: str, ca: str, client: str, error: type[Exception] | None
) -> None:
    server = RivaServer()
    port = server.grpc.add_secure_port("127.0.0.1:0", server_credentials(pem, client))
    endpoint = Endpoint(
        name="riva", address=f"{host}:{port}", metadata={"authorization": "Bearer k"}, tls=True,
        ca_file=pem[ca], cert_file=pem[f"{client}.pem"], key_file=pem[f"{client}.key"],
    )  # fmt: skip
    async with server, RivaBackend(endpoint) as backend:
        if error is not None:
            with pytest.raises(error):
                await backend.models()
            return
        async with backend.open(RecognitionConfig(), label="s1") as stream:
            await stream.finish()
            assert [result.text async for result in stream] == ["0 chunks"]
    assert [value for key, value in server.headers if key == "authorization"] == ["Bearer k"]


def test_secrets_of_calls_may_be_in_files(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("Bearer nvapi-1\n")
    endpoint = Endpoint(
        name="a", address="a:1", metadata={"function-id": "f"}, metadata_files={"authorization": str(key)}
    )
    assert with_secrets(endpoint).metadata == {"function-id": "f", "authorization": "Bearer nvapi-1"}
    assert "nvapi" not in repr(endpoint)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "no such file or directory"),
        (b"", "one line of printable ASCII is wanted"),
        (b"two\nlines", "one line of printable ASCII is wanted"),
        (b"\xff", "codec can't decode"),
    ],
)
def test_a_file_that_holds_no_secret_is_refused_by_name_and_not_shown(
    content: bytes | None, problem: str, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    if content is not None:
        key.write_bytes(content)
    endpoint = Endpoint(name="a", address="a:1", metadata_files={"authorization": str(key)})
    with pytest.raises(
        ValueError, match=r"endpoint 'a': metadata_files.authorization \(.*\) cannot be used"
    ) as refused:
        with_secrets(endpoint)
    assert problem in str(refused.value).lower() or problem in str(refused.value)


def test_a_header_has_one_source() -> None:
    with pytest.raises(ValueError, match="has two values"):
        Endpoint(name="a", address="a:1", metadata={"x": "1"}, metadata_files={"x": "f"})
