"""Who may come in, where and how: addresses, protocols, encryption, authentication, limits."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

import msgspec

from transport.sections.values import Count, Port, Rate, Seconds, Text, is_private


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
        if self.jwks_url is not None and not is_private(self.jwks_url):
            raise ValueError("jwks_url begins with https://; http:// is for this machine alone")


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
