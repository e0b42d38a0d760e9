"""Many clients come at once: connect, token, Welcome, and subscribe."""

from benchmarks.clients import Clients, Connected
from benchmarks.measuring import connect, spent
from benchmarks.outcomes import Bar, Figure, Outcome, Table
from benchmarks.systems import Ours, System, cluster, embedded

CLIENTS = 2000
ALL_BACK = 10_000
CONCURRENCY = 100
MOST_US = 600.0
MOST_SECONDS = 30.0


def come(system: System, count: int, *topics: str) -> tuple[Connected, dict[str, float]]:
    """Have so many come and stay for a moment; return also CPU µs of each by process."""
    ports, ours = system.ports, Ours()
    people = [ours.person(ports[n % len(ports)], f"user{n}", *topics) for n in range(count)]
    with Clients() as clients:
        before = spent(system)
        connected = connect(clients, people, concurrency=CONCURRENCY)
        after = spent(system)
    return connected, {name: (after[name] - before[name]) / count * 1e6 for name in after}


def line(
    system: System, count: int, what: str, found: list[tuple[Connected, dict[str, float]]]
) -> list[str | Figure]:
    """Return a line of the table."""
    parts = ", ".join(
        f"{name} {Figure.of([cost[name] for _, cost in found])}" for name in system.processes
    )
    return [
        system.name,
        what,
        str(count),
        Figure.of([sum(cost.values()) for _, cost in found]),
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
            for what, topics in (("Welcome", ()), ("Welcome, subscribe", ("news",))):
                found = [come(system, CLIENTS, *topics) for _ in range(3)]
                lines.append(line(system, CLIENTS, what, found))
                if system.name == "cluster" and not topics:
                    cost = Figure.of([sum(cost.values()) for _, cost in found])
                    bars.append(
                        Bar("connect and Welcome: CPU of all processes", MOST_US, cost, "µs")
                    )
            if system.name == "cluster" and not quick:
                found = [come(system, ALL_BACK, "news")]
                lines.append(line(system, ALL_BACK, "Welcome, subscribe", found))
                seconds = Figure.of([one.seconds for one, _ in found])
                what = f"{ALL_BACK:,} clients are back and subscribed"
                bars.append(Bar(what, MOST_SECONDS, seconds, "s"))
    columns = ["system", "until", "clients", "CPU µs each", "of these", "seconds in all", "p99 ms"]
    note = f"{CONCURRENCY} handshakes at a time; tokens are checked (HS256)."
    return Outcome("storm", "All come at once", [Table("", columns, lines)], bars, [note])
