"""What keeps a server from starting, said as whoever wanted it can understand it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from actors.speech.errors import SpeechError
from supervisor.errors import StartFailed
from transport.expected import ExpectedError


class CannotStart(ExpectedError):
    """The server cannot start: a port is taken, a model is missing, …"""


@contextmanager
def explained() -> Iterator[None]:
    """What keeps a tree from starting is said as whoever wanted it can understand it.

    Raises:
        CannotStart: from `StartFailed`.
    """
    try:
        yield
    except StartFailed as failed:
        match _cause(failed):
            case SpeechError() as error:
                why = f"{error.detail}: {error.backend_detail}" if error.backend_detail else error.detail
                raise CannotStart(why) from failed
            case ExpectedError() as error:
                raise CannotStart(str(error)) from failed
            case _:
                raise


def _cause(failed: StartFailed) -> BaseException:
    """What the part itself raised, however deep in the tree it is."""
    error: BaseException = failed
    while isinstance(error, StartFailed):
        error = error.error
    return error
