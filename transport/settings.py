"""Everything an operator can set, with its defaults and limits, and where the values come from."""

from __future__ import annotations

import ipaddress
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from actors.speech.catalogue import Severity
from actors.speech.injection import check_rates
from transport.layers import Setting, SettingsError, check, from_environment, from_toml
from transport.riva.channel import Endpoint

__all__ = [
    "Admin",
    "AlertSink",
    "Alerts",
    "Auth",
    "Cache",
    "Dialects",
    "Embedded",
    "Inject",
    "Journal",
    "Limits",
    "Loaded",
    "Log",
    "Server",
    "Session",
    "Settings",
    "SettingsError",
    "Tls",
    "Tracing",
    "load",
]

PREFIX = "VOXTREE__"  # VOXTREE__SERVER__PORT=9000
EMBEDDED_NAME = "embedded"  # of the recogniser that comes with voxtree, among the backends
CONFIG = "VOXTREE_CONFIG"  # the file, when --config names none

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]
Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
Rate = Annotated[float, msgspec.Meta(gt=0, le=1e6)]
Bytes = Annotated[int, msgspec.Meta(ge=320, le=4 * 1024 * 1024)]  # from 10 ms at 16 kHz to what is ever read


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where clients connect.

    Attributes:
        host: address to listen on; 0.0.0.0 or :: for every interface.
        port: 0 lets the system pick one.
        origins: web pages that may connect besides this server's own (`https://app.example.com`).
        trusted_proxies: networks (`10.0.0.0/8`) of proxies before this server, which are believed where clients are.
        proxy_header: in which they say so. The other one is not read: whoever calls them could have written it.
        page: whether browsers find a page to speak to at `/`, and the client that it uses at `/client.js`.
        shutdown_timeout: seconds that running sessions get to end when the server stops.
        workers: processes that share the port; None: one for each core that this process may use. They share the
            journal, and divide what backends and sessions may take in all.
        loop: the event loop: `uvloop`, which takes a sixth less of the processor and comes with `voxtree[uvloop]`;
            `asyncio`, Python's own; `auto`: the former if it is installed.
    """

    host: Text = "127.0.0.1"
    port: Port = 8600
    origins: tuple[str, ...] = ()
    trusted_proxies: tuple[Text, ...] = ()
    proxy_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    page: bool = True
    shutdown_timeout: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 10.0
    workers: Annotated[int, msgspec.Meta(ge=1, le=256)] | None = None
    loop: Literal["auto", "uvloop", "asyncio"] = "auto"

    def __post_init__(self) -> None:
        for network in self.trusted_proxies:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise ValueError(f"trusted_proxies: {error}") from error


Dialect = Literal["riva", "openai", "deepgram", "vosk"]


class Dialects(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Other systems' protocols, for clients that exist already.

    Attributes:
        enabled: which are spoken on `server.port`, by path: `riva` and `openai` at /v1/realtime, `deepgram` at
            /v1/listen, `vosk` at /.
        vosk_port: a port besides, for clients of vosk-server, which look at 2700; None: none.
        riva_port: a port for clients of Riva itself, over gRPC, which look at 50051; None: none.
    """

    enabled: tuple[Dialect, ...] = ("riva", "openai", "deepgram", "vosk")
    vosk_port: Port | None = None
    riva_port: Port | None = None


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Encryption for clients, at every port of theirs: TLS 1.2 or later. Files that change are used as they are.

    Attributes:
        cert_file, key_file: PEM of the certificate with its chain, and of its key; both, or neither for no encryption.
        client_ca_file: PEM of the authorities of which clients need a certificate; None: they need none.
    """

    cert_file: Text | None = None
    key_file: Text | None = None
    client_ca_file: Text | None = None

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together")
        if self.client_ca_file is not None and self.cert_file is None:
            raise ValueError("client_ca_file needs a cert_file and a key_file")


class Auth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who clients have to be. The files are read again on SIGHUP.

    Attributes:
        mode: `none`: nobody is asked, which is for this machine alone; `keys`: clients have a key each, made by
            `voxtree keys new NAME`; `jwt`: tokens that an identity provider has signed.
        allow_public: with `none`, listen where other machines can connect all the same: whoever reaches the port may
            speak, and uses up what recognition costs.
        keys_file: for `keys`: a line `NAME:HASH` for each; the name is the user.
        key_file: for `jwt`: the provider's public key as PEM (RSA, P-256, Ed25519), or a secret shared with it (HS256).
        jwks_url: … or where it publishes its keys; https, or http on this machine.
        issuer: whose tokens count: their `iss`.
        audience: what they must be for: their `aud`.
        user_claim: the claim that says who it is.
    """

    mode: Literal["none", "keys", "jwt"] = "none"
    allow_public: bool = False
    keys_file: Text | None = None
    key_file: Text | None = None
    jwks_url: Text | None = None
    issuer: Text | None = None
    audience: Text | None = None
    user_claim: Text = "sub"

    def __post_init__(self) -> None:
        if (self.mode == "keys") != (self.keys_file is not None):
            raise ValueError("mode = keys takes a keys_file, and nothing else does; `voxtree keys new` makes one")
        if self.mode != "jwt":
            if self.key_file or self.jwks_url or self.issuer or self.audience:
                raise ValueError("key_file, jwks_url, issuer and audience are for mode = jwt")
            return
        if (self.key_file is None) == (self.jwks_url is None):
            raise ValueError("mode = jwt takes a key_file or a jwks_url, and not both")
        if self.issuer is None or self.audience is None:
            raise ValueError("mode = jwt takes an issuer and an audience: whose tokens count, and what they are for")
        if self.jwks_url is not None and not _is_private(self.jwks_url):
            raise ValueError("jwks_url begins with https://; http:// is for this machine alone")


class Session(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one session may take.

    Attributes:
        max_sessions: sessions at the same time; further ones are refused. None: one for each backend stream.
        idle_timeout: seconds without a message from the client after which its connection is closed.
        max_chunk_bytes: audio in one message.
        log_seconds: audio held in memory, for replay, that no final covers yet. A client that sends faster than real
            time waits when it is full.
        spool_seconds: audio of live speech held on disk besides, while no backend takes it (2 bytes a sample: 1.9 MB a
            minute at 16 kHz). Past it the oldest is given up, and the client is told by a `gap`. 0: none.
        spool_dir: directory for it; None: the system's for temporary files. Files have no name there.
        resume_window: seconds for which a session whose client is gone waits for it to come back.
        gather: seconds of audio that is taken in at a time where a client sends less in a message, as browsers do:
            their messages wait for one another. 0: each is taken by itself. See also `backends.0.step`.
    """

    max_sessions: Count | None = None
    idle_timeout: Seconds = 60.0
    max_chunk_bytes: Bytes = 1024 * 1024
    log_seconds: Annotated[float, msgspec.Meta(ge=20, le=3600)] = 60.0
    spool_seconds: Annotated[float, msgspec.Meta(ge=0, le=86400)] = 600.0
    spool_dir: Text | None = None
    resume_window: Seconds = 60.0
    gather: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one caller may take, and what the server takes on. A process of its own counts for itself.

    An address is one of IPv4, or a /64 of IPv6. Behind a proxy that is not in `server.trusted_proxies` all clients have
    its address, and many people may share one. None: no limit.

    Attributes:
        connections: clients that are connected; None: as many as there are file descriptors for.
        newcomers: connections that have not begun a session. Past it the oldest of them has to go.
        newcomers_per_address: the same for one address.
        loop_lag: seconds by which the event loop may be late, on average over a second; past it no new sessions are let
            in, until it is half of that.
        sessions_per_user: at the same time, those that wait for their client included.
        sessions_per_address: the same for one address.
        handshakes_per_user: a second.
        handshakes_per_address: a second.
        handshake_burst: so many at once.
        audio_per_user: seconds of audio a second in all its sessions: 1 for each that speaks. What comes faster waits.
        audio_per_address: the same for one address.
        audio_credit: seconds of audio that may come at once, as when a client comes back and has kept some.
    """

    connections: Count | None = None
    newcomers: Count | None = 4096
    newcomers_per_address: Count | None = 1024
    loop_lag: Seconds | None = 0.25
    sessions_per_user: Count | None = None
    sessions_per_address: Count | None = None
    handshakes_per_user: Rate | None = None
    handshakes_per_address: Rate | None = None
    handshake_burst: Count = 100
    audio_per_user: Rate | None = None
    audio_per_address: Rate | None = None
    audio_credit: Seconds = 120.0


class Journal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where finals are kept until their client has them, so that it can resume whatever happens here.

    Attributes:
        store: `sqlite`, a file that all servers of this machine may share; `postgres`, for several machines; `memory`:
            a session survives its connection, but not this process.
        path: of the SQLite file; None: `voxtree/journal.db` in $STATE_DIRECTORY, $XDG_STATE_HOME or ~/.local/state.
        synchronous: `normal`: what is committed survives the process, and a power cut may take the last moments;
            `full`: it survives that too, and each commit waits for the disk.
        dsn: PostgreSQL's connection string, `postgresql://USER@HOST/DATABASE`. A secret.
        dsn_file: a file that holds it instead.
        text: how words are kept: `plain`, `encrypted` with the key in `key_file`, or `none`: only that there were some,
            and what the client lacks when it resumes is recognised again.
        key_file: 32 bytes as base64; `voxtree journal keygen FILE` makes one.
        ttl: seconds for which sessions that cannot be resumed any more are kept.
    """

    store: Literal["sqlite", "memory", "postgres"] = "sqlite"
    path: Text | None = None
    synchronous: Literal["normal", "full"] = "normal"
    dsn: Text | None = None
    dsn_file: Text | None = None
    text: Literal["plain", "encrypted", "none"] = "plain"
    key_file: Text | None = None
    ttl: Annotated[float, msgspec.Meta(ge=0, le=30 * 86400)] = 3600.0

    def __post_init__(self) -> None:
        if self.store == "postgres" and (self.dsn is None) == (self.dsn_file is None):
            raise ValueError("store = postgres takes a dsn or a dsn_file, and not both")
        if self.text == "encrypted" and self.key_file is None:
            raise ValueError("text = encrypted takes a key_file; `voxtree journal keygen FILE` makes one")


class Embedded(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The recogniser that comes with voxtree (English; runs on the CPU).

    Attributes:
        enabled: None: only when no backend is configured.
        max_streams: None: ten for each core.
        model_dir: a folder with another Moonshine model; None: the one in the moonshine-voice package.
        threads: decoding threads; None: one for each core.
    """

    enabled: bool | None = None
    max_streams: Count | None = None
    model_dir: str | None = None
    threads: Count | None = None


class Inject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Errors raised on purpose, to see what becomes of them; not on a server that people rely on.

    Attributes:
        rates: by code, the probability for each of its opportunities, which `voxtree errors CODE` names.
        seed: of the random numbers; None: other ones each time.
    """

    rates: dict[str, Probability] = {}
    seed: int | None = None

    def __post_init__(self) -> None:
        check_rates(self.rates)


class Cache(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Finals by the sound of their audio, for the time in which nothing can recognise speech.

    A transcript of a similar recording can put words into a speaker's mouth, and whoever plays a recording may be shown
    what another session's final said of it. So it is off unless wanted.

    Attributes:
        enabled: remember finals, and show clients what was said in similar audio while their words are delayed.
        ttl: seconds after which a final is forgotten; here nothing is kept longer, and nothing on disk.
        max_entries: finals remembered; beyond it the oldest goes.
        max_megabytes: memory for them, as estimated; beyond it the oldest go. 10,000 of 5 s take 80.
    """

    enabled: bool = False
    ttl: Seconds = 3600.0
    max_entries: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000
    max_megabytes: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 100


def _is_loopback(host: str) -> bool:
    if host.startswith("unix:"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_private(url: str) -> bool:
    """Whether nobody between can change what is at an address."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or ""))
    )


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
        if self.enabled and self.token_file is None and not _is_loopback(self.host):
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


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it. `backends` are the Riva endpoints, `[[backends]]` in the file."""

    server: Server = Server()
    auth: Auth = Auth()
    tls: Tls = Tls()
    dialects: Dialects = Dialects()
    session: Session = Session()
    limits: Limits = Limits()
    journal: Journal = Journal()
    backends: tuple[Endpoint, ...] = ()
    embedded: Embedded = Embedded()
    cache: Cache = Cache()
    inject: Inject = Inject()
    admin: Admin = Admin()
    alerts: Alerts = Alerts()
    log: Log = Log()
    tracing: Tracing = Tracing()

    def __post_init__(self) -> None:
        for name, times in Counter(backend.name for backend in self.backends).items():
            if times > 1:
                raise ValueError(f"backends: {times} are named {name!r}, each needs a name of its own")
        if self.uses_embedded and any(backend.name == EMBEDDED_NAME for backend in self.backends):
            raise ValueError(f"backends: the name {EMBEDDED_NAME!r} is the embedded recogniser's, choose another")
        if (self.server.workers or 1) > 1 and self.journal.store == "memory":
            raise ValueError(
                "server.workers is more than 1 and journal.store is memory: a client that comes back may meet another "
                "process, which must find its session; sqlite is for that, and the default"
            )
        if self.auth.mode == "none" and not self.auth.allow_public and not _is_loopback(self.server.host):
            raise ValueError(
                f"server.host {self.server.host} can be reached from other machines, and nobody is asked who it is: "
                "set auth.mode to keys or jwt, or auth.allow_public to true if everybody may speak"
            )
        if self.embedded.enabled is False and not self.backends:
            raise ValueError("embedded.enabled is false and there are no backends: nothing could recognise speech")

    @property
    def uses_embedded(self) -> bool:
        """Whether the embedded recogniser is to run."""
        return not self.backends if self.embedded.enabled is None else self.embedded.enabled


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """The settings, and the source of each value by its path (`server.port`)."""

    settings: Settings
    sources: Mapping[str, str]
    file: Path | None = None


def load(
    config: Path | None = None, options: Iterable[Setting] = (), environ: Mapping[str, str] | None = None
) -> Loaded:
    """Defaults, then the file, then `VOXTREE__…` variables, then command line options; later ones win.

    Args:
        config: the TOML file; None: the one that VOXTREE_CONFIG names, or none.
        options: what the command line said, from `transport.layers.from_option`.
        environ: the environment; None: this process's.

    Raises:
        SettingsError: with one line for each problem.
    """
    environ = os.environ if environ is None else environ
    if config is None and environ.get(CONFIG):
        config = Path(environ[CONFIG])
    layers = [*(from_toml(config) if config else ()), *from_environment(environ, PREFIX), *options]
    settings, sources = check(Settings, layers)
    return Loaded(settings=settings, sources=sources, file=config)
