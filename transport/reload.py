"""New settings for a running server: what can be used is used, what needs a restart is named, nothing is half done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import msgspec

from transport.app import App
from transport.layers import SettingsError
from transport.settings import Settings

logger = logging.getLogger("voxtree.settings")


async def reload(app: App, before: Settings, load: Callable[[], Settings]) -> Settings:
    """Read the settings again and use them as far as that can be done without dropping a session: the backends.

    Says in the log what was done. Settings that cannot be used change nothing.

    Args:
        before: those the server runs with.

    Returns:
        Those it runs with now.
    """
    try:
        wanted = load()
        changes = await app.reload(wanted)
    except SettingsError as error:
        for problem in error.problems:
            logger.error("settings are not reloaded, all goes on as before: %s", problem)
        return before
    done = [f"{what} {', '.join(names)}" for what, names in msgspec.structs.asdict(changes).items() if names]
    logger.info("settings reloaded: backends %s", "; ".join(done) or "are the same")
    for path in needs_restart(before, wanted):
        logger.warning("a changed setting needs a restart: %s", path)
    return msgspec.structs.replace(before, backends=wanted.backends)


def needs_restart(before: Settings, wanted: Settings) -> list[str]:
    """The paths of changed settings, as `server.port`, that a running server cannot use."""
    paths = [path for path, (old, new) in _pairs(before, wanted) if old != new and not path.startswith("backends")]
    if before.uses_embedded != wanted.uses_embedded and "embedded.enabled" not in paths:
        paths.append("embedded.enabled")  # it was left open, and the backends now decide otherwise
    return paths


def _pairs(
    before: msgspec.Struct, wanted: msgspec.Struct, path: str = ""
) -> Iterator[tuple[str, tuple[object, object]]]:
    for field in before.__struct_fields__:
        old, new = getattr(before, field), getattr(wanted, field)
        if isinstance(old, msgspec.Struct):
            yield from _pairs(old, new, f"{path}{field}.")
        else:
            yield f"{path}{field}", (old, new)
