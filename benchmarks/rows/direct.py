"""Direct messages from one to another, between random users."""

import random

from benchmarks.clients import Clients, Message
from benchmarks.measuring import LOAD_COLUMNS, connect, load_line, runs
from benchmarks.outcomes import Bar, Figure, Outcome, Table
from benchmarks.systems import Ours, System, cluster, embedded, payload

USERS = 1000
PAIRS = 5000
WINDOWS = (1, 8, 64)
MOST_US = 150.0
MOST_BROKER_US = 20.0


def messages(ours: Ours) -> list[Message]:
    """Return messages between random pairs; the same at each run."""
    chance = random.Random(1)  # noqa: S311 - a load, no secret
    pairs = [chance.sample(range(USERS), 2) for _ in range(PAIRS)]
    return [Message(one, 1, ours.direct(f"user{other}", payload())) for one, other in pairs]


def settle(system: System, clients: Clients, ours: Ours) -> None:
    """Have the users connect, spread over the nodes."""
    ports = system.ports
    connect(
        clients,
        (ours.person(ports[number % len(ports)], f"user{number}") for number in range(USERS)),
    )


def row(*, quick: bool = False) -> Outcome:
    """Measure it."""
    lines, bars, ours = list[list[str | Figure]](), list[Bar](), Ours()
    for system_of in (embedded, cluster):
        with system_of() as system, Clients() as clients:
            settle(system, clients, ours)
            for window in WINDOWS:
                seconds = 2 if quick else 4
                found = runs(system, clients, messages(ours), seconds=seconds, window=window)
                lines.append(load_line(system, window, found))
        if system.name == "cluster":
            everything = Figure.of([one.all_us for one in found])
            broker = Figure.of([one.cpu_us["broker"] for one in found])
            what = f"a direct message, {WINDOWS[-1]} outstanding: CPU of "
            bars = [
                Bar(what + "all processes", MOST_US, everything, "µs"),
                Bar(what + "RabbitMQ", MOST_BROKER_US, broker, "µs"),
            ]
    table = Table(f"{USERS} users", LOAD_COLUMNS, lines)
    return Outcome("direct", "Direct messages", [table], bars)
