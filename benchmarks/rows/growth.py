"""What a message costs as those grow who do not want it, and the cluster itself."""

from contextlib import ExitStack

from benchmarks.clients import Clients, Message
from benchmarks.measuring import Run, connect, measure
from benchmarks.outcomes import Bar, Figure, Outcome, Table
from benchmarks.systems import Ours, System, cluster, embedded, payload

MEMBERS = 10
WINDOW = 8
MOST = 1.1
FEW, MANY = 100, 10_000


def settle(clients: Clients, system: System, idle: int, rooms: int = 1) -> list[Message]:
    """Have rooms of ten connect, and idle ones who each want something else."""
    ports, ours = system.ports, Ours()
    members = [
        ours.listener(ports[n % len(ports)], n, f"room.{n // MEMBERS}")
        for n in range(rooms * MEMBERS)
    ]
    others = [
        ours.listener(ports[n % len(ports)], len(members) + n, f"idle.{n}") for n in range(idle)
    ]
    connect(clients, [*members, *others])
    return [
        Message(room * MEMBERS, MEMBERS, ours.broadcast(f"room.{room}", payload()))
        for room in range(rooms)
    ]


def compared(
    smaller: System, larger: System, sizes: tuple[int, int], rooms: tuple[int, int]
) -> tuple[list[Run], list[Run]]:
    """Measure two systems in turn, with so many idle connections and rooms each."""
    with ExitStack() as stack:
        both = []
        for system, idle, count in zip((smaller, larger), sizes, rooms, strict=True):
            clients = stack.enter_context(Clients())
            both.append((system, clients, settle(clients, system, idle, count)))
        found: tuple[list[Run], list[Run]] = ([], [])
        for number in range(4):
            for (system, clients, messages), into in zip(both, found, strict=True):
                run = measure(system, clients, messages, seconds=3, window=WINDOW)
                if number:  # the first one warms up
                    into.append(run)
    return found


def row(*, quick: bool = False) -> Outcome:
    """Measure it."""
    many = MANY // 10 if quick else MANY
    lines = list[list[str | Figure]]()
    with embedded() as one, embedded() as other:
        few, more = compared(one, other, (FEW, many), (1, 1))
    grown = _line(lines, f"idle connections: {FEW} to {many:,}", few, more)
    bars = [Bar(f"cost of a message, {many:,} idle connections as a share of {FEW}", MOST, grown)]
    with embedded() as one, embedded() as other:
        _line(lines, "rooms: 100 to 200", *compared(one, other, (0, 0), (100, 200)))
    with cluster(2) as one, cluster(4) as other:
        _line(lines, "gateways: 2 to 4", *compared(one, other, (0, 0), (100, 100)))
    columns = ["what grows", "CPU µs per message", "then", "ratio"]
    table = Table(f"Rooms of {MEMBERS}, {WINDOW} messages outstanding", columns, lines)
    return Outcome("growth", "Growth", [table], bars)


def _line(
    lines: list[list[str | Figure]], what: str, before: list[Run], after: list[Run]
) -> Figure:
    ratio = Figure.of([two.all_us / one.all_us for one, two in zip(before, after, strict=True)])
    costs = (Figure.of([one.all_us * MEMBERS for one in runs]) for runs in (before, after))
    lines.append([what, *costs, ratio])
    return ratio
