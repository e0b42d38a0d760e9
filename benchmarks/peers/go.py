"""Peers in Go: NATS, and Centrifugo."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.peer import PLACE, SERVERS, make_once, order, served
from benchmarks.peers.tongues import Centrifugo, Nats
from benchmarks.systems import System, Tongue


class InGo:
    """A program that the Go toolchain, which must be on the PATH, makes from its sources."""

    name = ""
    module = ""
    version = ""
    configuration = ""
    port_variable = "PORT"
    tongue: Tongue
    between = ""

    def __init__(self) -> None:
        self.program = Path()

    def install(self, directory: Path = PLACE) -> None:
        """See ``Peer``."""
        place, wanted = directory / self.name, f"{self.module}@v{self.version}"

        def make(place: Path) -> None:
            order("go", "install", wanted, place=place, GOBIN=str(place))

        make_once(place, wanted, make)
        self.program = next(one for one in place.iterdir() if os.access(one, os.X_OK))

    @contextmanager
    def run(self, nodes: int = 1) -> Iterator[System]:
        """See ``Peer``."""
        command = [str(self.program), "--config", str(SERVERS / self.configuration)]
        variable = self.port_variable
        with served(self.name, self.tongue, command, port_variable=variable) as system:
            yield system


class NatsServer(InGo):
    """NATS over WebSocket."""

    name = "nats-server"
    module = "github.com/nats-io/nats-server/v2"
    version = "2.15.2"
    configuration = "nats.conf"
    tongue = Nats()


class CentrifugoServer(InGo):
    """Centrifugo. CENTRIFUGO may name a program of the same version: to make one takes minutes."""

    name = "centrifugo"
    module = "github.com/centrifugal/centrifugo/v6"
    version = "6.9.1"
    configuration = "centrifugo.json"
    port_variable = "CENTRIFUGO_HTTP_SERVER_PORT"
    tongue = Centrifugo()

    def install(self, directory: Path = PLACE) -> None:
        """See ``Peer``."""
        if program := os.environ.get("CENTRIFUGO"):
            self.program = Path(program)
        else:
            super().install(directory)
