"""Many small rooms: 1,000 of five, in each of which one member speaks and all hear it."""

from benchmarks.clients import Clients, Message
from benchmarks.measuring import LOAD_COLUMNS, connect, load_line, runs
from benchmarks.outcomes import Figure, Outcome, Table
from benchmarks.systems import System, cluster, embedded, payload

MEMBERS = 5
WINDOWS = (1, 8, 64)


def messages(system: System, rooms: int) -> list[Message]:
    """Return a message for each room, said by its first member."""
    say = system.tongue.broadcast
    return [
        Message(room * MEMBERS, MEMBERS, say(f"room.{room}", payload())) for room in range(rooms)
    ]


def settle(system: System, clients: Clients, rooms: int) -> None:
    """Have the members of so many rooms connect, each room's spread over the nodes."""
    ports, listener = system.ports, system.tongue.listener
    connect(
        clients,
        (
            listener(ports[number % len(ports)], number, f"room.{number // MEMBERS}")
            for number in range(rooms * MEMBERS)
        ),
    )


def row(*, quick: bool = False) -> Outcome:
    """Measure it."""
    rooms, lines = (100 if quick else 1000), list[list[str | Figure]]()
    for system_of in (embedded, cluster):
        with system_of() as system, Clients() as clients:
            settle(system, clients, rooms)
            for window in WINDOWS:
                found = runs(system, clients, messages(system, rooms), seconds=3, window=window)
                lines.append(load_line(system, window, found, MEMBERS))
    table = Table(f"{rooms} rooms of {MEMBERS}", LOAD_COLUMNS, lines)
    return Outcome("rooms", "Many small rooms", [table])
