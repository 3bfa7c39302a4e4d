"""Everything an operator can set, with its defaults and limits, and where the values come from."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from transport.layers import Setting, SettingsError, check, from_environment, from_toml
from transport.riva.channel import Endpoint
from transport.sections.doors import Auth, Dialects, Limits, Server, Tls
from transport.sections.operators import Admin, Alerts, AlertSink, Log, Tracing
from transport.sections.sessions import Cache, Embedded, Inject, Journal, Session
from transport.sections.values import is_loopback

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
        if self.auth.mode == "none" and not self.auth.allow_public and not is_loopback(self.server.host):
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
