"""What a peer is, and what all of them need: a place to be installed in, and nodes that run."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from benchmarks.native.build import BUILT
from benchmarks.processes import Program, tree
from benchmarks.systems import System, Tongue
from standalone.private_rabbitmq import free_port

PLACE = BUILT / "peers"
SERVERS = Path(__file__).parent / "servers"
INSTALL_SECONDS = 1800.0
"""Centrifugo is compiled for minutes."""

REASON_CHARACTERS = 300


class NotInstalled(Exception):
    """A peer, or what it needs, cannot be had on this machine."""


class Peer(Protocol):
    """What a user might pick instead."""

    name: str
    between: str
    """What runs between its nodes; empty if it is measured with one node alone."""

    @property
    def version(self) -> str:
        """Of the server, or of the library that it is made with. Known once it is installed."""

    def install(self, directory: Path = PLACE) -> None:
        """Get what is needed, unless it is there.

        Raises:
            NotInstalled: it cannot be had.
        """

    def run(self, nodes: int = 1) -> AbstractContextManager[System]:
        """Run so many nodes."""


@dataclass(frozen=True)
class Broker:
    """What runs between several nodes."""

    name: str
    url: str
    pid: int


def make_once(place: Path, of: str, make: Callable[[Path], None]) -> None:
    """Fill a place, unless it is filled already with what is made of the same.

    Args:
        place: a directory, empty when ``make`` is called.
        of: what tells one content from another, such as a version.
        make: fills the directory.
    """
    stamp = place / "made-of"
    if stamp.exists() and stamp.read_text() == of:
        return
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    make(place)
    stamp.write_text(of)


def order(*command: str, place: Path, **environment: str) -> None:
    """Run a command that installs something.

    Raises:
        NotInstalled: it is not there, or failed.
    """
    try:
        subprocess.run(  # noqa: S603 - our own commands, no shell
            command,
            cwd=place,
            env={**os.environ, **environment},
            check=True,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
        )
    except FileNotFoundError as error:
        raise NotInstalled(f"{command[0]} is not on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(f"{' '.join(command)} has taken too long") from error
    except subprocess.CalledProcessError as error:
        why = " ".join(error.stderr.split())[:REASON_CHARACTERS]
        raise NotInstalled(f"{' '.join(command)} has failed: {why}") from error


@contextmanager
def served(
    name: str,
    tongue: Tongue,
    command: Sequence[str],
    *,
    nodes: int = 1,
    environment: Mapping[str, str] | None = None,
    broker: Broker | None = None,
    port_variable: str = "PORT",
) -> Iterator[System]:
    """Run a command for each node, which is told its port.

    One node runs on the cores that the load leaves; several are bound to none.

    Args:
        name: what it is.
        tongue: how clients speak to it.
        command: what is run.
        nodes: so many times.
        environment: what each is told besides.
        broker: what runs between the nodes; each is told its BROKER_URL.
        port_variable: of the environment, by which a node is told its port.
    """
    common = {**os.environ, **(environment or {})}
    between = dict[str, list[int]]()
    if broker is not None:
        common["BROKER_URL"] = broker.url
        between[broker.name] = [broker.pid]
    cores = None if nodes == 1 else os.sched_getaffinity(0)
    with TemporaryDirectory() as logs, ExitStack() as stack:
        ports, pids = [free_port() for _ in range(nodes)], list[int]()
        for port in ports:
            log, own = Path(logs) / f"{port}.log", {**common, port_variable: str(port)}
            program = Program(command, log=log, port=port, environment=own, cores=cores)
            pids += tree(stack.enter_context(program).pid)
        yield System(name, ports, {"node": pids, **between}, tongue)
