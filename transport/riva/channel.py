"""Where a Riva endpoint is, what it may be asked, and the gRPC channel to it."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import grpc
import msgspec

from actors.speech.ports import Tier


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One Riva endpoint as an operator configures it. Durations are seconds.

    Attributes:
        name: unique among the endpoints; what logs and metrics call it.
        address: `host:port`, as gRPC resolves it (`ipv4:…`, `dns:…` and `unix:…` work too).
        tls: encrypt. Certificate files without it are refused rather than ignored.
        ca_file: PEM of the authorities to trust instead of the system's.
        cert_file, key_file: PEM of our own certificate and its key, for mutual TLS; both or neither.
        metadata: headers of every call (`authorization`, `function-id`); the values count as secrets.
        metadata_files: the same, each with a file that holds the value; read at the start and on SIGHUP.
        quota_key: endpoints that use up the same quota, as with one account's key, get the same name here: what one
            of them is refused, none of them is asked for a while. Empty: a quota of its own.
        max_streams: streams held at the same time. Riva degrades past its capacity instead of refusing.
        catch_up: how many times faster than real time piled-up audio may be sent.
        model: used when a session names none; empty lets Riva pick by language.
        sample_rate: Hz of the audio sent; sessions at another rate are resampled.
        probe_timeout: deadline of the question what the endpoint can recognise, which precedes every stream.
        models_max_age: how long its answer is believed, while no stream fails; an older one serves until it is renewed.
        open_timeout: until a stream's config is written, connecting included.
        first_answer_timeout: audible audio, and time, a new stream may leave without any answer. To be raised for a
            backend that answers nothing but words, where clients send noise.
        stall_timeout: any audio, and time, once streams have shown that they answer silence too; audible audio in
            mid-utterance where they do not.
        hang_timeout: how long an endpoint may be silent altogether. A stream that was not answered for half of it has
            the endpoint asked what it has loaded; if that is not answered for the other half either, it hangs. One that
            does answer is only slow, and has the time of the other timeouts.
        finish_timeout: from the end of the audio, or the last result, to the end of the stream. A backend that has
            heard everything by then is not waited for any longer.
        max_stream_age: after which a stream is replaced, between two utterances: long ones were seen to die.
        step: audio that its model takes at a time. Shorter pieces wait until they make it up, and go as one message: so
            clients that send 20 ms at a time cost little more than those that send 100. 0: each piece goes at once.

    Raises:
        ValueError: when a value cannot work, naming the endpoint and the setting.
    """

    name: str
    address: str
    tier: Tier = Tier.PRIMARY
    tls: bool = False
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    metadata: dict[str, str] = {}
    metadata_files: dict[str, str] = {}
    quota_key: str = ""
    max_streams: int = 100
    catch_up: float = 4.0
    model: str = ""
    sample_rate: int = 16000
    probe_timeout: float = 2.0
    models_max_age: float = 60.0
    open_timeout: float = 3.0
    first_answer_timeout: float = 3.0
    stall_timeout: float = 2.4  # noticed within two ticks of `Watch`, and told by all streams within 3 s
    hang_timeout: float = 1.4  # three packets in a row must be lost for as long a silence of a network that works
    finish_timeout: float = 5.0
    max_stream_age: float = 600.0
    step: float = 0.1  # of Riva's low-latency models

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise ValueError(f"endpoint {self.name!r}: {problem}")

    def __repr__(self) -> str:
        """Without the metadata's values: a configured endpoint ends up in logs, its keys must not."""
        return f"Endpoint({self.name!r}, {self.address!r}, {self.tier.value}, metadata={sorted(self.metadata)})"


def with_secrets(endpoint: Endpoint) -> Endpoint:
    """The same endpoint with what its `metadata_files` hold as metadata.

    Raises:
        ValueError: one cannot be read, or holds no single line of text.
    """
    found = dict(endpoint.metadata)

    def read(name: str, path: str) -> None:
        value = Path(path).read_text(encoding="utf-8").strip()
        if not value or not value.isascii() or not value.isprintable():
            raise ValueError("one line of printable ASCII is wanted")
        found[name] = value

    for name, path in endpoint.metadata_files.items():
        _checked(endpoint, f"metadata_files.{name}", partial(read, name), path)
    return msgspec.structs.replace(endpoint, metadata=found, metadata_files={})


def connect(endpoint: Endpoint) -> grpc.aio.Channel:
    """A channel of its own to the endpoint; it connects with the first call. Needs a running event loop.

    Raises:
        ValueError: when a certificate file cannot be used.
    """
    if not endpoint.tls:
        return grpc.aio.insecure_channel(endpoint.address, options=OPTIONS)
    return grpc.aio.secure_channel(endpoint.address, credentials(endpoint), options=OPTIONS)


def connection(endpoint: Endpoint) -> tuple[object, ...]:
    """All that a channel is made of; endpoints that agree in it can share one. Certificates count by their content.

    Raises:
        ValueError: when a certificate file cannot be read.
    """
    files = {
        field: getattr(endpoint, field)
        for field in ("ca_file", "cert_file", "key_file")
        if getattr(endpoint, field) is not None
    }
    contents: list[bytes] = []
    for field, path in files.items():
        _checked(endpoint, field, lambda path: contents.append(Path(path).read_bytes()), path)
    return (endpoint.address, endpoint.tls, tuple(files), tuple(contents))


def credentials(endpoint: Endpoint) -> grpc.ChannelCredentials:
    """The endpoint's TLS credentials.

    Raises:
        ValueError: when a file cannot be read or is no PEM, or the key does not belong to the certificate.
        Left
            to gRPC, all of these would surface much later as an unexplained `UNAVAILABLE`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if endpoint.ca_file is not None:
        _checked(endpoint, "ca_file", context.load_verify_locations, endpoint.ca_file)
    if endpoint.cert_file is not None:

        def load_pair(cert_file: str) -> None:
            context.load_cert_chain(cert_file, endpoint.key_file, password=_no_password)

        _checked(endpoint, "cert_file and key_file", load_pair, endpoint.cert_file)
    return grpc.ssl_channel_credentials(
        root_certificates=_read(endpoint.ca_file),
        private_key=_read(endpoint.key_file),
        certificate_chain=_read(endpoint.cert_file),
    )


# Keepalive finds a dead peer; `ping_timeout` is what finds a frozen one while no stream waits for an answer, since
# Core never acts on `keepalive_timeout` while data is in flight (grpc/grpc#39239). Core's reconnect pauses (1 s to
# 120 s) would hide a backend that is back. Core's own retries would resend audio unseen (and only while nothing was
# answered), so they are off.
OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 2_500),  # a frozen peer is to be found within 3 s while audio flows
    ("grpc.http2.ping_timeout_ms", 2_500),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.use_local_subchannel_pool", 1),  # endpoints at one address keep connections of their own
    ("grpc.primary_user_agent", "voxtree"),
)


def _problems(endpoint: Endpoint) -> list[str]:
    found = {
        "name is empty": not endpoint.name,
        f"address {endpoint.address!r} must be host:port, without http://": "://" in endpoint.address
        and not endpoint.address.startswith(("dns://", "unix://")),
        f"address {endpoint.address!r} names no port": ":" not in endpoint.address,
        "ca_file, cert_file and key_file need tls = true": not endpoint.tls
        and any((endpoint.ca_file, endpoint.cert_file, endpoint.key_file)),
        "cert_file and key_file belong together": (endpoint.cert_file is None) != (endpoint.key_file is None),
        "max_streams must be at least 1": endpoint.max_streams < 1,
        "catch_up must be at least 1": endpoint.catch_up < 1,
        "sample_rate must be 8000 to 48000": not 8000 <= endpoint.sample_rate <= 48000,
        "metadata names must be lower case": any(
            key != key.lower() for key in (*endpoint.metadata, *endpoint.metadata_files)
        ),
        "a name in metadata and in metadata_files has two values": bool(
            endpoint.metadata.keys() & endpoint.metadata_files.keys()
        ),
        "max_stream_age must be above 0": endpoint.max_stream_age <= 0,
        "step must be 0 to 1": not 0 <= endpoint.step <= 1,
        "timeouts must be above 0": min(_timeouts(endpoint).values()) <= 0,
    }
    return [problem for problem, is_there in found.items() if is_there]


def _timeouts(endpoint: Endpoint) -> Mapping[str, float]:
    return {field: getattr(endpoint, field) for field in endpoint.__struct_fields__ if field.endswith("_timeout")}


def _checked(endpoint: Endpoint, setting: str, load: Callable[[str], None], path: str) -> None:
    try:
        load(path)
    except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
        reason = exc.strerror or getattr(exc, "reason", None) if isinstance(exc, OSError) else exc
        raise ValueError(f"endpoint {endpoint.name!r}: {setting} ({path}) cannot be used: {reason or exc}") from exc


def _read(path: str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()


def _no_password() -> str:
    raise ValueError("the key is encrypted; give it without a passphrase")
