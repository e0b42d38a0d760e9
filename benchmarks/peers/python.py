"""Peers in Python: python-socketio, with RabbitMQ between several nodes, and websockets."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from benchmarks.peers.peer import PLACE, SERVERS, Broker, make_once, order, served
from benchmarks.peers.tongues import Rooms, SocketIO
from benchmarks.systems import System
from standalone.private_rabbitmq import PrivateRabbitMQ

REQUIREMENTS = SERVERS / "requirements.txt"


def _version(package: str) -> str:
    pins = dict(line.split("==") for line in REQUIREMENTS.read_text().split())
    return pins[package]


def _install(place: Path) -> None:
    order(sys.executable, "-m", "venv", ".", place=place)
    order("bin/pip", "install", "--quiet", "--requirement", str(REQUIREMENTS), place=place)


class InPython:
    """A program in an environment of its own, with uvloop."""

    name = ""
    program = ""
    between = ""

    def __init__(self) -> None:
        self.version = _version(self.name)
        self.python = Path()

    def install(self, directory: Path = PLACE) -> None:
        """See ``Peer``."""
        place = directory / "python"
        make_once(place, sys.version + REQUIREMENTS.read_text(), _install)
        self.python = place / "bin/python"

    @property
    def command(self) -> list[str]:
        """What runs a node."""
        return [str(self.python), str(SERVERS / self.program)]


class Websockets(InPython):
    """websockets, with its ``broadcast()``."""

    name = "websockets"
    program = "python_websockets.py"

    @contextmanager
    def run(self, nodes: int = 1) -> Iterator[System]:
        """See ``Peer``."""
        with served(self.name, Rooms(), self.command) as system:
            yield system


class SocketIOInPython(InPython):
    """python-socketio on aiohttp."""

    name = "python-socketio"
    program = "python_socketio.py"
    between = "RabbitMQ"

    @contextmanager
    def run(self, nodes: int = 1) -> Iterator[System]:
        """See ``Peer``."""
        with (
            rabbitmq() if nodes > 1 else nullcontext() as broker,
            served(self.name, SocketIO(), self.command, nodes=nodes, broker=broker) as system,
        ):
            yield system


@contextmanager
def rabbitmq() -> Iterator[Broker]:
    """Run the same RabbitMQ as this service has between its own nodes."""
    with PrivateRabbitMQ() as private:
        yield Broker("broker", private.url, private.pid)
