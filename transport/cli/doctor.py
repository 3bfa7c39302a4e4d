"""`voxtree doctor`: look at everything that can keep a server from working, and say what to do about it."""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import socket
import tempfile
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from importlib import metadata
from pathlib import Path

import anyio
import msgspec

from actors.speech.errors import SpeechError
from transport.admin.access import read_token
from transport.alerts import make_dialects
from transport.cli.common import add_settings_arguments, loaded_settings
from transport.cli.doctor_journal import examine_journal
from transport.cli.doctor_security import examine_security
from transport.cli.doctor_workers import examine_workers
from transport.cli.findings import Finding, Level
from transport.embedded.models import EngineUnavailable, moonshine_files, silero_file
from transport.layers import SettingsError
from transport.riva.channel import Endpoint, with_secrets
from transport.riva.client import RivaBackend
from transport.settings import Settings

SOCKETS_TO_SPARE = 256  # open files besides clients: listeners, backends, logs, the recogniser's pipes
SPOOLED_BYTES = 32_000  # of a second of audio at 16 kHz
MANY_SESSIONS = 4096  # open files that are enough where no session limit is set
OTHER_PORTS = {  # to suggest where one is taken
    "server.port": 8610,
    "admin.port": 8611,
    "dialects.vosk_port": 2701,
    "dialects.riva_port": 50052,
}
OURS = ("supervisor", "actors", "transport")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="machine-readable")
    add_settings_arguments(parser)


def run(args: argparse.Namespace) -> int:
    worst = 0
    findings = []
    for finding in examine(args):
        worst = max(worst, list(Level).index(finding.level))
        findings.append(finding)
        if not args.json:
            print(_line(finding), flush=True)  # at once: a check that takes its time is seen to be at it
    if args.json:
        print(json.dumps(msgspec.to_builtins(findings), indent=2))
    return worst


def examine(args: argparse.Namespace) -> Iterator[Finding]:
    """Every check in turn; those that depend on settings only when there are usable ones."""
    yield _python()
    yield from _packages()
    yield from _names()
    try:
        settings = loaded_settings(args).settings
    except SettingsError as error:
        for problem in error.problems:
            yield Finding(Level.FAIL, "settings", problem, "correct it; `voxtree config check` looks again")
        return
    yield Finding(Level.OK, "settings", "can be used")
    yield from _addresses(settings)
    yield examine_workers(settings)
    yield from examine_security(settings)
    yield _open_files(settings)
    if settings.session.spool_seconds:
        yield _spool(settings)
    yield examine_journal(settings)
    if settings.alerts.sinks:
        yield _alerts(settings)
    if settings.uses_embedded:
        yield _model(settings)
    yield from anyio.run(_endpoints, settings.backends)


def _line(finding: Finding) -> str:
    fix = f" -> {finding.fix}" if finding.fix else ""
    return f"{finding.level.value:<4}  {finding.check}: {finding.what}{fix}"


def _python() -> Finding:
    what = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if platform.system() == "Linux":
        return Finding(Level.OK, "python", what)
    return Finding(Level.WARN, "python", what, "serve from Linux; elsewhere voxtree is untested")


def _packages() -> Iterator[Finding]:
    """What each extra needs, as the installed voxtree itself declares it."""
    try:
        declared = metadata.requires("voxtree") or []
    except metadata.PackageNotFoundError:
        yield Finding(Level.WARN, "voxtree", "runs from its source, not installed", "pip install 'voxtree[server]'")
        return
    yield Finding(Level.OK, "voxtree", metadata.version("voxtree"))
    for extra, level in (("", Level.FAIL), ("server", Level.FAIL), ("local", Level.WARN)):
        found, missing = _installed(_required(declared, extra))
        label = extra or "base"
        if missing:
            install = f"pip install 'voxtree[{extra}]'" if extra else "pip install --force-reinstall voxtree"
            yield Finding(level, f"packages ({label})", f"{', '.join(missing)} missing", install)
        else:
            yield Finding(Level.OK, f"packages ({label})", ", ".join(found))


def _required(declared: list[str], extra: str) -> list[str]:
    """The distribution names in `Requires-Dist` lines such as `soxr>=0.5; extra == 'server'`."""
    names = []
    for line in declared:
        requirement, _, marker = line.partition(";")
        if extra in marker if extra else "extra" not in marker:
            name = requirement.strip()
            end = next((index for index, char in enumerate(name) if not (char.isalnum() or char in "-_.")), len(name))
            names.append(name[:end])
    return [name for name in names if name != "voxtree"]


def _installed(names: list[str]) -> tuple[list[str], list[str]]:
    found, missing = [], []
    for name in names:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    return found, missing


def _names() -> Iterator[Finding]:
    """Whether another distribution put its files over ours, as PyPI's `supervisor` (supervisord) would."""
    owners = metadata.packages_distributions()
    for name in OURS:
        others = sorted(set(owners.get(name, [])) - {"voxtree"})
        if others:
            yield Finding(
                Level.FAIL,
                f"package {name}",
                f"is also installed by {', '.join(others)}",
                "install voxtree in an environment of its own (pipx, uv tool, or a venv)",
            )


def _addresses(settings: Settings) -> Iterator[Finding]:
    """Whether clients and operators can be listened to."""
    server, dialects = settings.server, settings.dialects
    ports = (
        ("port", "server.port", server.port),
        ("vosk port", "dialects.vosk_port", dialects.vosk_port),
        ("riva port", "dialects.riva_port", dialects.riva_port),
    )
    for what, setting, port in ports:
        if port is not None:
            yield _address(what, setting, server.host, port, asked=server.port)
    if not settings.admin.enabled:
        return
    if not settings.admin.host.startswith("unix:"):
        yield _address("admin port", "admin.port", settings.admin.host, settings.admin.port, asked=settings.admin.port)
    try:
        read_token(settings.admin)
    except SettingsError as error:
        yield Finding(Level.FAIL, "admin token", str(error).removeprefix("admin.token_file: "), "correct the file")


def _address(what: str, setting: str, host: str, port: int, *, asked: int) -> Finding:
    """Whether a port can be listened on. `asked`: the port at which a server that has it would answer."""
    name, section = f"{host}:{port}", "admin" if setting == "admin.port" else "server"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        return Finding(Level.FAIL, f"{section}.host", f"{host!r}: {error.strerror}", "use an address of this machine")
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: ignore closed connections
        try:
            probe.bind(address)
        except PermissionError:
            return Finding(Level.FAIL, what, f"{name} is not allowed to this user", "use a port above 1023")
        except OSError as error:
            if _is_alive(host, asked):
                return Finding(Level.OK, what, f"voxtree is already serving on {name}")
            why = (error.strerror or str(error)).lower()
            other = f"stop what listens there, or choose another: --set {setting}={OTHER_PORTS[setting]}"
            return Finding(Level.FAIL, what, f"{name} cannot be had: {why}", other)
    return Finding(Level.OK, what, f"{name} is free")


def _is_alive(host: str, port: int) -> bool:
    """Whether a voxtree answers there."""
    connection = HTTPConnection(host, port, timeout=1.0)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _open_files(settings: Settings) -> Finding:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return Finding(Level.OK, "open files", "no limit")
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    sessions = settings.session.max_sessions
    wanted = sessions + SOCKETS_TO_SPARE if sessions else MANY_SESSIONS
    if limit == resource.RLIM_INFINITY or limit >= wanted:
        return Finding(Level.OK, "open files", f"up to {limit}")
    return Finding(
        Level.FAIL if sessions else Level.WARN,
        "open files",
        f"at most {limit}, each session is one" + (f" and there may be {sessions}" if sessions else ""),
        f"ulimit -n {wanted}, or LimitNOFILE={wanted} in the systemd unit",
    )


def _spool(settings: Settings) -> Finding:
    """Whether audio can wait on disk, and whether there is room for that of all sessions."""
    folder = settings.session.spool_dir or tempfile.gettempdir()
    try:
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return Finding(Level.FAIL, "spool", f"{folder} cannot be written: {reason}", "correct session.spool_dir")
    wanted = int((settings.session.max_sessions or 0) * settings.session.spool_seconds * SPOOLED_BYTES)
    what = f"{folder} can be written, {_gigabytes(free)} are free"
    if free >= wanted:
        return Finding(Level.OK, "spool", what)
    return Finding(
        Level.WARN,
        "spool",
        f"{what}; audio of all sessions may take {_gigabytes(wanted)} while no backend works",
        "make room, lower session.spool_seconds, or choose another session.spool_dir",
    )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def _model(settings: Settings) -> Finding:
    folder = settings.embedded.model_dir
    try:
        path = moonshine_files(Path(folder) if folder else None)
        silero_file()
    except EngineUnavailable as error:
        what, _, fix = str(error).partition(": ")
        return Finding(Level.FAIL, "embedded recogniser", what, fix or "correct embedded.model_dir")
    return Finding(Level.OK, "embedded recogniser", f"{path} is there" + ("" if folder else " and unchanged"))


def _alerts(settings: Settings) -> Finding:
    """Whether the sinks could be spoken to. Nothing is sent: whoever is on call would be told of it."""
    try:
        make_dialects(settings.alerts)
    except SettingsError as error:
        return Finding(Level.FAIL, "alerts", str(error), "correct the settings of [alerts]")
    names = ", ".join(f"{sink.name} ({sink.type})" for sink in settings.alerts.sinks)
    return Finding(Level.OK, "alerts", f"go to {names}; `voxtree alerts test` tries them")


async def _endpoints(endpoints: tuple[Endpoint, ...]) -> list[Finding]:
    """Ask all of them at the same time; the findings keep the order of the settings."""
    findings: dict[str, Finding] = {}

    async def ask(endpoint: Endpoint) -> None:
        findings[endpoint.name] = await _endpoint(endpoint)

    async with anyio.create_task_group() as tasks:
        for endpoint in endpoints:
            tasks.start_soon(ask, endpoint)
    return [findings[endpoint.name] for endpoint in endpoints]


async def _endpoint(endpoint: Endpoint) -> Finding:
    name = f"backend {endpoint.name} ({endpoint.address})"
    try:
        async with RivaBackend(with_secrets(endpoint)) as backend:
            models = await backend.models(fresh=True)
    except SpeechError as error:
        return Finding(Level.FAIL, name, str(error), error.entry.remedy)
    except ValueError as error:  # its files
        return Finding(Level.FAIL, name, str(error), "correct its ca_file, cert_file, key_file and metadata_files")
    if not any(model.streaming for model in models.models):
        return Finding(Level.FAIL, name, f"has no streaming model ({models})", "deploy one to Riva")
    return Finding(Level.OK, name, str(models))
