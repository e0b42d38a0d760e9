"""Peers on Node: Socket.IO, with Redis between several nodes, and bare ws."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from benchmarks.peers.debian import Redis
from benchmarks.peers.peer import PLACE, SERVERS, make_once, order, served
from benchmarks.peers.tongues import Rooms, SocketIO
from benchmarks.systems import System

PACKAGES = ("package.json", "package-lock.json", ".npmrc")


def _version(package: str) -> str:
    wanted = json.loads((SERVERS / "package.json").read_text())
    return str(wanted["dependencies"][package])


def _install(place: Path) -> None:
    for one in PACKAGES:
        shutil.copy(SERVERS / one, place)
    order("node", "--version", place=place)
    order("npm", "ci", "--ignore-scripts", place=place)


class OnNode:
    """A program on Node, which must be on the PATH."""

    name = ""
    program = ""
    between = ""

    def __init__(self) -> None:
        self.version = _version(self.name)
        self.environment: dict[str, str] = {}

    def install(self, directory: Path = PLACE) -> None:
        """See ``Peer``."""
        place = directory / "node"
        make_once(place, (SERVERS / "package-lock.json").read_text(), _install)
        self.environment = {"NODE_ENV": "production", "NODE_PATH": str(place / "node_modules")}

    @property
    def command(self) -> list[str]:
        """What runs a node."""
        return ["node", str(SERVERS / self.program)]


class Ws(OnNode):
    """The library that most of Node's WebSocket servers stand on, by itself."""

    name = "ws"
    program = "ws.cjs"

    @contextmanager
    def run(self, nodes: int = 1) -> Iterator[System]:
        """See ``Peer``."""
        with served(self.name, Rooms(), self.command, environment=self.environment) as system:
            yield system


class SocketIOOnNode(OnNode):
    """Socket.IO."""

    name = "socket.io"
    program = "socket_io.cjs"
    between = "Redis"

    def __init__(self) -> None:
        super().__init__()
        self.redis = Redis()

    def install(self, directory: Path = PLACE) -> None:
        """See ``Peer``."""
        super().install(directory)
        self.redis.install(directory)

    @contextmanager
    def run(self, nodes: int = 1) -> Iterator[System]:
        """See ``Peer``."""
        with (
            self.redis.run() if nodes > 1 else nullcontext() as broker,
            served(
                self.name,
                SocketIO(),
                self.command,
                nodes=nodes,
                environment=self.environment,
                broker=broker,
            ) as system,
        ):
            yield system
