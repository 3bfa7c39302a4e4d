"""`voxtree`: picks the command, and turns what may go wrong into one sentence and an exit code.

A command is a module with `add_arguments(parser)` and `run(args) -> int`, imported when it is asked for: so
`--help` comes at once, and an installation without the `server` extra still has its other commands.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

from transport.expected import ExpectedError

# Nothing that takes long to import belongs up here: msgspec or anyio alone would double the time of --help.


class Command(NamedTuple):
    name: str
    module: str
    help: str
    extra: str = "server"  # what to install when a package it imports is missing


COMMANDS = (
    Command("demo", "transport.cli.demo", "watch a session survive its recogniser", "local"),
    Command("serve", "transport.cli.serve", "run the server"),
    Command("transcribe", "transport.cli.transcribe", "turn a WAV file into text"),
    Command("listen", "transport.cli.listen", "turn what is said into the microphone into text", "microphone"),
    Command("recogniser", "transport.cli.recogniser", "run the embedded recogniser alone, as a Riva server", "local"),
    Command("observe", "transport.cli.observe", "watch a running server: sessions, backends, errors"),
    Command("tree", "transport.cli.tree", "print the supervision tree of a running server"),
    Command("doctor", "transport.cli.doctor", "check this machine, the settings, the journal and the backends"),
    Command("journal", "transport.cli.journal", "look at sessions that can be resumed, and remove them"),
    Command("alerts", "transport.cli.alerts", "try the sinks that alerts are sent to"),
    Command("keys", "transport.cli.keys", "make keys with which clients prove who they are"),
    Command("config", "transport.cli.config", "check and show the settings"),
    Command("errors", "transport.cli.errors", "explain error codes"),
)

EXIT_CODES = """\
exit codes:
  0           done
  1           it ran and failed (doctor: there are warnings)
  2           it could not run: wrong arguments or settings (doctor: something is broken)
  130         interrupted
"""
INTERRUPTED = 130
PIPE_CLOSED = 141  # what a shell reports of a program that SIGPIPE ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        args = _parser(arguments).parse_args(arguments)
        code: int = args.run(args)
        sys.stdout.flush()  # here, where a closed pipe can still be met quietly
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except ExpectedError as error:
        for line in str(error).splitlines():
            print(f"voxtree: {line}", file=sys.stderr)
        return error.exit_code


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="voxtree",
        usage="voxtree [-h] [--version] COMMAND ...",
        description="Supervised speech sessions: audio in, every word out exactly once.",
        epilog=_command_list() + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(prog="voxtree", metavar="COMMAND", required=True, help=argparse.SUPPRESS)
    chosen = next((argument for argument in arguments if not argument.startswith("-")), None)
    for command in COMMANDS:
        subparser = commands.add_parser(command.name, description=_sentence(command.help), allow_abbrev=False)
        if command.name == chosen:
            module = _imported(command)
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    return parser


def _command_list() -> str:
    lines = [f"  {command.name:<12}{command.help}\n" for command in COMMANDS]
    return "".join(["commands (each has its own --help):\n", *lines, "\n"])


def _imported(command: Command) -> ModuleType:
    try:
        return importlib.import_module(command.module)
    except ModuleNotFoundError as error:
        top = (error.name or "").partition(".")[0]
        if top in {"supervisor", "actors", "transport", ""}:
            raise
        raise ExpectedError(
            f"`voxtree {command.name}` needs the package {top}: pip install 'voxtree[{command.extra}]'"
        ) from error


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from transport.version import version

        print("voxtree", version())
        parser.exit()


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


if __name__ == "__main__":
    sys.exit(main())
