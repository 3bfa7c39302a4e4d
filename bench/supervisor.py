"""`supervisor`: what supervision costs, beside a bare TaskGroup and the one actor library that restarts.

start    until one more child is up, when 10,000 (`--children`) are alive: mean of half as many more, garbage
         collection included
memory   what a supervised child adds to the process, of as many
restart  from the order to crash until the next life is up
stop     all of as many, one after another, the last one first, each waited for

`TaskGroup` is the floor: tasks, each in a loop that catches and goes on. It keeps no order, no budget and no record.
`pip install papyra` takes papyra along.
"""

from __future__ import annotations

import argparse

from bench import rounds
from bench.rounds import Contender, Measure

CONTENDERS = (
    Contender("voxtree on asyncio", "voxtree_children", options={"backend": "asyncio", "kind": "function"}),
    Contender("voxtree on trio", "voxtree_children", "trio", {"backend": "trio", "kind": "function"}),
    Contender("voxtree actors on asyncio", "voxtree_children", options={"backend": "asyncio", "kind": "actor"}),
    Contender("TaskGroup", "task_group"),
    Contender("papyra", "papyra_actors", "papyra"),
)
CHILDREN = 10_000
RESTART = Measure("restart", "µs", "restart", amount=1.0, quick=0.02)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    rounds.add_arguments(parser)
    parser.add_argument("--children", type=int, default=CHILDREN, help="how many are alive (default 10,000)")


def measures(children: int = CHILDREN) -> tuple[Measure, ...]:
    return (
        Measure("start", "µs/child", "start", amount=children, quick=100),
        Measure("memory", "KiB/child", "memory", amount=children, quick=100),
        RESTART,
        Measure("stop", "µs/child", "stop", amount=children, quick=100),
    )


def run(args: argparse.Namespace) -> int:
    return rounds.run("supervisor", args, CONTENDERS, measures(args.children))
