"""`voxtree tree`: the supervision tree of a running server, as it is this moment."""

from __future__ import annotations

import argparse

import msgspec

from actors.speech.live_session import PREFIX
from actors.speech.sessions import SESSION_BUDGET
from supervisor.commands import ChildState
from supervisor.errors import Path
from supervisor.snapshot import Snapshot, render
from supervisor.spec import INFINITY, Intensity, Strategy
from transport.admin.state import Node, SessionRow, State
from transport.cli.admin_port import add_admin_arguments, admin_port


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Prints the supervision tree of a running server: who runs, in which life, after which end."
    parser.add_argument("--all", action="store_true", help="all sessions, not only the first hundred")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    add_admin_arguments(parser)


def run(args: argparse.Namespace) -> int:
    tree = snapshot(admin_port(args).look().state)
    if args.json:
        print(msgspec.json.format(msgspec.json.encode(tree), indent=2).decode())
    else:
        print(render(tree, max_children=None if args.all else 100))
    return 0


def snapshot(state: State) -> Snapshot:
    """The tree that a state was made of."""
    below: dict[Path, list[Path]] = {}
    nodes = {tuple(path.split("/")): node for path, node in state.tree.items()}
    for path in nodes:
        below.setdefault(path[:-1], []).append(path)

    def made(path: Path) -> Snapshot:
        children = [made(child) for child in below.get(path, ())]
        if nodes[path].strategy == "dynamic" and path[-1] == "sessions":
            worker = path[-2].removeprefix("worker:") if len(path) > 2 else ""
            here = {name: row for name, row in state.sessions.items() if row.until is None and row.worker == worker}
            children = [_session(path, name, row) for name, row in here.items()]
        return _snapshot(path, nodes[path], tuple(children))

    (root,) = below[()]
    return made(root)


def _session(above: Path, name: str, row: SessionRow) -> Snapshot:
    path = (*above, PREFIX + name)
    node = Node(
        state=ChildState.RUNNING.value,
        strategy="rest_for_one",
        restarts=row.restarts,
        limit=row.limit,
        window=SESSION_BUDGET.seconds,
    )
    return _snapshot(path, node, tuple(_snapshot((*path, part), one) for part, one in row.parts.items()))


def _snapshot(path: Path, node: Node, children: tuple[Snapshot, ...] = ()) -> Snapshot:
    return Snapshot(
        path=path,
        state=ChildState(node.state),
        number=node.number,
        last_exit=node.last_exit,
        strategy=None if node.strategy is None else Strategy[node.strategy.upper()],
        restarts=node.restarts,
        intensity=None if node.limit is None else Intensity(node.limit, node.window or INFINITY),
        children=children,
    )
