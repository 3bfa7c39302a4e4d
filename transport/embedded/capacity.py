"""How much one recogniser process takes on."""

from __future__ import annotations

import os

STREAMS_PER_THREAD = 10  # measured: 8 with ease; at 14 finals begin to wait


def threads_for(wanted: int | None) -> int:
    """Decodes at once: as wanted, else one for each core this process may use."""
    return wanted or len(os.sched_getaffinity(0))


def streams_for(wanted: int | None, threads: int | None) -> int:
    """Calls served at once: as wanted, else `STREAMS_PER_THREAD`."""
    return wanted or STREAMS_PER_THREAD * threads_for(threads)
