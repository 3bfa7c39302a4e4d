"""`python -m transport.embedded`: the embedded recogniser in a process of its own.

Writes one line of JSON to stdout when it is ready, and its log to stderr. Ends on SIGTERM and SIGINT.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from transport.embedded.capacity import streams_for, threads_for

# Before numpy and onnxruntime are loaded: a thread pool in each decode would get in the way of the others.
os.environ.setdefault("OMP_NUM_THREADS", "1")

EXIT_UNAVAILABLE = 3  # a package or a model file is missing
EXIT_ADDRESS = 4  # the port or the socket is in use
ORPHAN_GRACE = 5.0  # seconds for an orderly end once the parent is gone


class _Failed(Exception):
    """The one sentence an operator needs, and the exit status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until told to stop; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m transport.embedded",
        description="A speech recogniser that speaks NVIDIA Riva's gRPC protocol.",
        epilog="exit status: 0 stopped, 2 bad arguments, 3 package or model missing, 4 address not available",
    )
    add_arguments(parser)
    return run(parser.parse_args(arguments))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--listen",
        default="127.0.0.1:50051",
        metavar="ADDRESS",
        type=_address,
        help="HOST:PORT (port 0: any free one) or unix:/path (default: %(default)s)",
    )
    parser.add_argument("--max-streams", type=_positive, metavar="N", help="calls at once (default: 10 a thread)")
    parser.add_argument("--threads", type=_positive, metavar="N", help="decodes at once (default: one a core)")
    parser.add_argument(
        "--model-dir", type=Path, metavar="DIR", help="a Moonshine model in place of the bundled tiny-en"
    )
    parser.add_argument(
        "--exit-with-parent", action="store_true", help="end when stdin does, as it does when the parent dies"
    )


def run(options: argparse.Namespace) -> int:
    """Serve with parsed arguments; returns the exit status."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(_run(options))
    except _Failed as failure:
        print(f"transport.embedded: {failure}", file=sys.stderr)
        return failure.status
    return 0


async def _run(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if options.exit_with_parent:
        threading.Thread(target=_watch_parent, args=(loop, stop), name="parent", daemon=True).start()
    await _serve(options, stop)


async def _serve(options: argparse.Namespace, stop: asyncio.Event) -> None:
    try:
        from transport.embedded.engine import Engine
        from transport.embedded.models import EngineUnavailable
        from transport.embedded.server import AddressUnavailable, serving
    except ModuleNotFoundError as exc:
        sentence = f"the embedded recogniser needs the package {exc.name}: pip install 'voxtree[local]'"
        raise _Failed(EXIT_UNAVAILABLE, sentence) from exc
    threads = threads_for(options.threads)
    streams = streams_for(options.max_streams, threads)
    try:
        engine = await asyncio.to_thread(Engine, threads=threads, model_dir=options.model_dir)
        await asyncio.to_thread(engine.warm_up)
        if stop.is_set():
            return
        async with serving(engine, options.listen, threads=threads, max_streams=streams) as address:
            ready = {"listening": address, "max_streams": streams, "model": engine.model}
            print(json.dumps(ready), flush=True)
            await stop.wait()
    except EngineUnavailable as exc:
        raise _Failed(EXIT_UNAVAILABLE, str(exc)) from exc
    except AddressUnavailable as exc:
        raise _Failed(EXIT_ADDRESS, str(exc)) from exc


def _watch_parent(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Wait for the end of stdin; then stop, in an orderly way if that is still possible."""
    while os.read(0, 4096):
        pass
    loop.call_soon_threadsafe(stop.set)
    threading.Event().wait(ORPHAN_GRACE)
    os._exit(1)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if text.startswith("unix:/") or (host and port.isdecimal() and int(port) < 65_536):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is neither HOST:PORT nor unix:/absolute/path")


if __name__ == "__main__":
    sys.exit(main())
