"""`actors`: messages, questions and memory, beside other actor libraries and a bare asyncio.Queue.

tell     one task tells one actor, a thousand messages at a time, until all are handled
ask      one task asks an idle actor, with a timeout of five seconds, one question after another
memory   what an idle actor adds to the process, of a thousand

`asyncio.Queue` is the floor: a task that reads a queue, and nothing of what makes an actor. The others are taken along
where they are installed: `pip install pykka thespian papyra xoscar`.
"""

from __future__ import annotations

import argparse

from bench import rounds
from bench.rounds import Contender, Measure

CONTENDERS = (
    Contender("voxtree on asyncio", "voxtree_actors", options={"backend": "asyncio"}),
    Contender("voxtree on trio", "voxtree_actors", "trio", {"backend": "trio"}),
    Contender("asyncio.Queue", "asyncio_queue"),
    Contender("papyra", "papyra_actors", "papyra"),
    Contender("pykka", "pykka_actors", "pykka"),
    Contender("thespian", "thespian_actors", "thespian"),
    Contender("xoscar", "xoscar_actors", "xoscar"),
)
MEASURES = (
    Measure("tell", "messages/s", "tell", amount=1.0, quick=0.02, better="higher"),
    Measure("ask", "questions/s", "ask", amount=1.0, quick=0.02, better="higher"),
    Measure("memory", "KiB/actor", "memory", amount=1000, quick=100),
)

add_arguments = rounds.add_arguments


def run(args: argparse.Namespace) -> int:
    return rounds.run("actors", args, CONTENDERS, MEASURES)
