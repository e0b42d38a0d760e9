"""Connections of which nobody speaks: their memory, and the CPU of their heartbeats."""

from benchmarks.clients import Clients
from benchmarks.measuring import connect, resident, spent
from benchmarks.outcomes import Bar, Figure, Outcome, Table
from benchmarks.systems import Ours, System, cluster, embedded

WARM = 500
"""What is allocated once is allocated when these are there."""

CLIENTS = 5000
SECONDS = 8.0
MOST_KB = 20.0
FIRST = "gateway"


def measure(system: System, idle: int) -> tuple[dict[str, float], list[float]]:
    """Return kB per connection by process, and CPU ms per second and 1,000 connections of all."""
    ports, ours = system.ports, Ours()
    with Clients() as clients:
        people = [ours.person(ports[n % len(ports)], f"user{n}") for n in range(WARM + CLIENTS)]
        connect(clients, people[:WARM])
        before = resident(system)
        connect(clients, people[WARM:])
        after = resident(system)
        cpu = [_idle_ms(system, clients) for _ in range(idle)]
    return {name: (after[name] - before[name]) / CLIENTS for name in after}, cpu


def _idle_ms(system: System, clients: Clients) -> float:
    began = sum(spent(system).values())
    clients.idle(SECONDS)
    cpu = sum(spent(system).values()) - began
    return cpu / SECONDS * 1e3 / (WARM + CLIENTS) * 1e3


def row(*, quick: bool = False) -> Outcome:
    """Measure it."""
    lines, bars = list[list[str | Figure]](), list[Bar]()
    times = 1 if quick else 3
    for system_of in (embedded, cluster):
        found = list[dict[str, float]]()
        for number in range(1, times + 1):  # in processes that have never had more
            with system_of() as system:
                one, cpu = measure(system, idle=times if number == times else 0)
                found.append(one)
        kb = {name: Figure.of([one[name] for one in found]) for name in found[0]}
        parts = ", ".join(f"{name} {figure}" for name, figure in kb.items())
        lines.append([system.name, parts, Figure.of(cpu)])
        if FIRST in kb:
            bars.append(Bar("memory of an idle connection in a gateway", MOST_KB, kb[FIRST], "kB"))
    columns = ["system", "kB per connection", "CPU ms per s and 1,000 connections"]
    note = f"{CLIENTS:,} connections without subscriptions; their heartbeats are spread over 25 s."
    return Outcome("idle", "Idle connections", [Table("", columns, lines)], bars, [note])
