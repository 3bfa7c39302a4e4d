"""What `voxtree doctor` says of keys, certificates, and of who else can read them."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from transport.auth import Authentication
from transport.cli.findings import Finding, Level
from transport.layers import SettingsError
from transport.settings import Settings
from transport.tls import Certificate
from transport.wire.client_secrets import ClientSecrets

EXPIRES_SOON = 14 * 86400.0  # seconds; as the alert rule has it


def examine_security(settings: Settings) -> Iterator[Finding]:
    """Who is let in, with what certificate, and whether secrets are secret."""
    yield _auth(settings)
    if settings.tls.cert_file is not None:
        yield _certificate(settings)
    for setting, file in secret_files(settings):
        if (finding := _readable(setting, Path(file).expanduser())) is not None:
            yield finding


def secret_files(settings: Settings) -> Iterator[tuple[str, str]]:
    """The files with secrets, by their settings. Keys of clients are none: the file has hashes."""
    named = {
        "admin.token_file": settings.admin.token_file,
        "auth.key_file": settings.auth.key_file,
        "journal.dsn_file": settings.journal.dsn_file,
        "journal.key_file": settings.journal.key_file,
        "tls.key_file": settings.tls.key_file,
        **{f"backends.{backend.name}.key_file": backend.key_file for backend in settings.backends},
        **{f"alerts.sinks.{sink.name}.url_file": sink.url_file for sink in settings.alerts.sinks},
        **{f"alerts.sinks.{sink.name}.key_file": sink.key_file for sink in settings.alerts.sinks},
    }
    yield from ((setting, file) for setting, file in named.items() if file is not None)


def _auth(settings: Settings) -> Finding:
    mode = settings.auth.mode
    try:
        Authentication(settings.auth, ClientSecrets())
    except SettingsError as error:
        return Finding(Level.FAIL, "auth", str(error), "correct the file")
    if mode != "none":
        return Finding(Level.OK, "auth", f"clients prove who they are ({mode})")
    if settings.auth.allow_public:
        return Finding(Level.WARN, "auth", "whoever reaches the port may speak", "set auth.mode to keys or jwt")
    return Finding(Level.OK, "auth", f"nobody is asked; {settings.server.host} is for this machine alone")


def _certificate(settings: Settings) -> Finding:
    try:
        left = Certificate(settings.tls).expires_in()
    except SettingsError as error:
        return Finding(Level.FAIL, "certificate", str(error), "correct the files")
    days = int(left // 86400)
    if left <= 0:
        return Finding(Level.FAIL, "certificate", "it has expired", "renew it")
    if left < EXPIRES_SOON:
        return Finding(Level.WARN, "certificate", f"it is valid for {days} days more", "renew it")
    return Finding(Level.OK, "certificate", f"it is valid for {days} days")


def _readable(setting: str, path: Path) -> Finding | None:
    """None: only its user and group can read it, or there is no such file, which others tell."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return None
    if not mode & stat.S_IROTH:
        return None
    return Finding(Level.WARN, setting, f"every user of this machine can read {path}", f"chmod o= {path}")
