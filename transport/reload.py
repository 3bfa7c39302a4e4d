"""New settings for a running server: what can be used is used, what needs a restart is named, nothing is half done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import msgspec

from actors.speech.error_handler import ErrorContext
from actors.speech.errors import NotReloaded
from transport.app import App
from transport.layers import SettingsError
from transport.logs import configure
from transport.settings import Limits, Settings

logger = logging.getLogger("voxtree.settings")

# What is used at once, besides the backends: limits and origins by whoever connects from then on.
LIVE = {
    "server": ("origins", "trusted_proxies", "proxy_header"),
    "session": ("max_sessions", "idle_timeout", "max_chunk_bytes", "resume_window", "gather"),
    "limits": Limits.__struct_fields__,
    "log": ("level", "format"),
}

_replace = msgspec.structs.replace


async def reload(app: App, before: Settings, load: Callable[[], Settings]) -> Settings:
    """Read the settings again and use them as far as that can be done without dropping a session. Raises nothing.

    Says in the log what was done. Settings that cannot be used change nothing: that is one `NotReloaded`.

    Args:
        before: those the server runs with.

    Returns:
        Those it runs with now.
    """
    try:
        wanted = load()
        changes = await app.reload(wanted)
    except SettingsError as error:
        problems = "; ".join(error.problems)
        app.errors.report(NotReloaded(f"all goes on as before: {problems}"), ErrorContext(path="settings"))
        app.reloaded(False)
        return before
    except Exception as defect:  # ours; a server that goes on with what it has is better than none
        app.errors.report(defect, ErrorContext(path="settings"))
        app.reloaded(False)
        return before
    if wanted.log != before.log:
        configure(wanted.log)
    done = [f"backends {what} {', '.join(names)}" for what, names in msgspec.structs.asdict(changes).items() if names]
    done += [path for path in _changed(before, wanted) if _is_live(path)]
    logger.info("settings reloaded: %s", "; ".join(done) or "they are the same", extra={"event": "settings.reloaded"})
    for path in needs_restart(before, wanted):
        text = "a changed setting needs a restart: %s"
        logger.warning(text, path, extra={"event": "settings.needs_restart"})
    app.reloaded(True)
    return adopted(before, wanted)


def adopted(before: Settings, wanted: Settings) -> Settings:
    """The settings of a running server that uses all of `wanted` that it can."""
    live = {
        section: _replace(getattr(before, section), **{name: getattr(getattr(wanted, section), name) for name in names})
        for section, names in LIVE.items()
    }
    return _replace(before, backends=wanted.backends, **live)


def needs_restart(before: Settings, wanted: Settings) -> list[str]:
    """The paths of changed settings, as `server.port`, that a running server cannot use."""
    paths = [path for path in _changed(before, wanted) if not _is_live(path) and not path.startswith("backends")]
    if before.uses_embedded != wanted.uses_embedded and "embedded.enabled" not in paths:
        paths.append("embedded.enabled")  # it was left open, and the backends now decide otherwise
    return paths


def _is_live(path: str) -> bool:
    section, _, name = path.partition(".")
    return name in LIVE.get(section, ())


def _changed(before: msgspec.Struct, wanted: msgspec.Struct, path: str = "") -> Iterator[str]:
    for field in before.__struct_fields__:
        old, new = getattr(before, field), getattr(wanted, field)
        if isinstance(old, msgspec.Struct):
            yield from _changed(old, new, f"{path}{field}.")
        elif old != new:
            yield f"{path}{field}"
