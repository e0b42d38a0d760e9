"""What is measured: a system of processes, and how its clients speak."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from benchmarks.clients import ID, MARKER, Person
from benchmarks.native.build import built
from benchmarks.processes import Program
from standalone.local_cluster import LocalCluster
from standalone.private_rabbitmq import PrivateRabbitMQ, free_port
from standalone.tokens import development_token

PAYLOAD_BYTES = 200
SPEAKER = "speaker"
LIMIT = "limit"


class Tongue(Protocol):
    """How clients of a system speak."""

    @property
    def answer(self) -> tuple[str, str] | None:
        """A message that the server wants answered, and the answer; None for WebSocket's ping."""

    def listener(self, port: int, number: int, topic: str) -> Person:
        """Return a client, different for each number, that hears a topic."""

    def speaker(self, port: int, number: int) -> Person:
        """Return a client that hears nothing but speaks."""

    def broadcast(self, topic: str, text: str) -> str:
        """Return the message by which a speaker says a text, which holds the marker, on a topic."""


@dataclass(frozen=True)
class System:
    """Processes that run, and where their clients connect."""

    name: str
    ports: Sequence[int]
    """One for each node."""

    processes: Mapping[str, Sequence[int]]
    """Process ids by what they are, such as ``gateway``."""

    tongue: Tongue
    amqp_url: str = ""


def payload(size: int = PAYLOAD_BYTES) -> str:
    """Return a text of so many bytes that holds the marker."""
    return MARKER + "x" * (size - len(MARKER))


class Ours:
    """This service, with acknowledgements: each command has an id."""

    answer = None

    def person(self, port: int, user: str, *topics: str) -> Person:
        """Return a user; with topics, one that is subscribed to them."""
        path = f"/ws?token={development_token(user)}"
        if not topics:
            return Person(port, path, ready=1, hellos=())
        subscribe = {"type": "Subscribe", "id": "s", "data": {"topics": topics}}
        # Welcome, then Status and Ack
        return Person(port, path, ready=3, hellos=((1, json.dumps(subscribe)),))

    def listener(self, port: int, number: int, topic: str) -> Person:
        """See ``Tongue``."""
        return self.person(port, f"user{number}", topic)

    def speaker(self, port: int, number: int) -> Person:
        """See ``Tongue``."""
        return self.person(port, f"{SPEAKER}{number}")

    def broadcast(self, topic: str, text: str) -> str:
        """See ``Tongue``."""
        data = {"topic": topic, "payload": text}
        return json.dumps({"type": "Broadcast", "id": ID, "data": data})

    def direct(self, user: str, text: str) -> str:
        """Return the message by which a speaker says a text to a user."""
        data = {"target_user": user, "payload": text}
        return json.dumps({"type": "DirectMessage", "id": ID, "data": data})


SETTINGS = {
    "REALTIME_MODE": "development",
    "PYTHONMALLOC": "malloc",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
"""Without limits of rates; with memory in huge pages, as in the image."""


@contextmanager
def embedded(**settings: str) -> Iterator[System]:
    """Run all services in one process."""
    port = free_port()
    environment = {**os.environ, **SETTINGS, **settings, "REALTIME_PORT": str(port)}
    command = [str(Path(sys.executable).with_name("realtime")), "serve"]
    with (
        TemporaryDirectory() as logs,
        Program(command, log=Path(logs) / "log", environment=environment, port=port) as program,
    ):
        yield System("embedded", [port], {"service": [program.pid]}, Ours())


class Bare:
    """A server that says to all listeners what a speaker says to it."""

    answer = None

    def listener(self, port: int, number: int, topic: str) -> Person:
        """See ``Tongue``."""
        return Person(port, "/", ready=0, hellos=())

    def speaker(self, port: int, number: int) -> Person:
        """See ``Tongue``."""
        return Person(port, "/publish", ready=0, hellos=())

    def broadcast(self, topic: str, text: str) -> str:
        """See ``Tongue``."""
        return text


@contextmanager
def limit() -> Iterator[System]:
    """Run the limit: a server in C that writes a finished frame to each socket."""
    port = free_port()
    with (
        TemporaryDirectory() as logs,
        Program([str(built("limit")), str(port)], log=Path(logs) / "log", port=port) as program,
    ):
        yield System(LIMIT, [port], {LIMIT: [program.pid]}, Bare())


@contextmanager
def cluster(gateways: int = 2, **settings: str) -> Iterator[System]:
    """Run gateways, a router, a presence service and RabbitMQ."""
    with (
        TemporaryDirectory() as logs,
        PrivateRabbitMQ() as rabbitmq,
        LocalCluster(
            rabbitmq.url,
            Path(logs),
            gateway_ports=[free_port() for _ in range(gateways)],
            routers=1,
            presence=1,
            settings={**SETTINGS, **settings},
        ) as running,
    ):
        processes = {
            "gateway": [one.pid for one in running.of("gateway")],
            "router": [one.pid for one in running.of("router")],
            "presence": [one.pid for one in running.of("presence_service")],
            "broker": [rabbitmq.pid],
        }
        ports = list(running.gateway_ports)
        yield System("cluster", ports, processes, Ours(), rabbitmq.url)
