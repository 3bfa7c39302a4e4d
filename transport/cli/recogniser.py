"""`voxtree recogniser`: the embedded recogniser alone, as a Riva server."""

from __future__ import annotations

import argparse

from transport.embedded import __main__ as embedded


def add_arguments(parser: argparse.ArgumentParser) -> None:
    embedded.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    return embedded.run(args)
