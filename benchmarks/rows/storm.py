"""Many clients come at once: connect, token, Welcome, and subscribe."""

from benchmarks.clients import Clients, Connected
from benchmarks.measuring import connect, spent
from benchmarks.outcomes import Bar, Figure, Outcome, Table
from benchmarks.systems import Ours, System, cluster, embedded

CLIENTS = 2000
ALL_BACK = 10_000
FEW, MANY = 100, 1000
"""Handshakes at a time."""

MOST_US = 600.0
MOST_SECONDS = 30.0


def come(
    system: System, count: int, *topics: str, at_a_time: int = MANY
) -> tuple[Connected, dict[str, float]]:
    """Have so many come and stay for a moment; return also CPU µs of each by process."""
    ports, ours = system.ports, Ours()
    people = [ours.person(ports[n % len(ports)], f"user{n}", *topics) for n in range(count)]
    with Clients() as clients:
        before = spent(system)
        connected = connect(clients, people, concurrency=at_a_time)
        after = spent(system)
    return connected, {name: (after[name] - before[name]) / count * 1e6 for name in after}


def line(
    system: System,
    what: str,
    count: int,
    at_a_time: int,
    found: list[tuple[Connected, dict[str, float]]],
) -> list[str | Figure]:
    """Return a line of the table."""
    parts = ", ".join(
        f"{name} {Figure.of([cost[name] for _, cost in found])}" for name in system.processes
    )
    return [
        system.name,
        what,
        f"{count:,}",
        f"{at_a_time:,}",
        _cost(found),
        parts,
        Figure.of([one.seconds for one, _ in found]),
        Figure.of([one.p99_ms for one, _ in found]),
    ]


def row(*, quick: bool = False) -> Outcome:
    """Measure it."""
    lines, bars = list[list[str | Figure]](), list[Bar]()
    for system_of in (embedded, cluster):
        with system_of() as system:
            come(system, 200)  # so that everything has been done once
            for what, topics, at_a_time in (
                ("Welcome", (), FEW),
                ("Welcome", (), MANY),
                ("Welcome, subscribe", ("news",), MANY),
            ):
                found = [come(system, CLIENTS, *topics, at_a_time=at_a_time) for _ in range(3)]
                lines.append(line(system, what, CLIENTS, at_a_time, found))
                if system.name == "cluster" and not topics:
                    said = f"connect and Welcome, {at_a_time:,} at a time: CPU of all processes"
                    bars.append(Bar(said, MOST_US, _cost(found), "µs"))
            if system.name == "cluster" and not quick:
                found = [come(system, ALL_BACK, "news")]
                lines.append(line(system, what, ALL_BACK, MANY, found))
                seconds = Figure.of([one.seconds for one, _ in found])
                said = f"{ALL_BACK:,} clients are back and subscribed"
                bars.append(Bar(said, MOST_SECONDS, seconds, "s"))
    columns = [
        "system",
        "until",
        "clients",
        "at a time",
        "CPU µs each",
        "of these",
        "seconds in all",
        "p99 ms",
    ]
    notes = ["Tokens are checked (HS256)."]
    return Outcome("storm", "All come at once", [Table("", columns, lines)], bars, notes)


def _cost(found: list[tuple[Connected, dict[str, float]]]) -> Figure:
    return Figure.of([sum(cost.values()) for _, cost in found])
