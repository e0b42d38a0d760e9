"""Where the time goes: the functions in which the processes are most of the time."""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.clients import Clients
from benchmarks.outcomes import Figure, Outcome, Table
from benchmarks.rows import direct, fan_out, storm
from benchmarks.sampling import own_samples, sampling
from benchmarks.systems import Ours, System, cluster, embedded

TOP = 8
FEWEST = 100
"""Samples; a process of which there are fewer has nothing to do with the load."""

SECONDS = 6.0
LISTENERS = 1000
WINDOW = 64
COMERS = 3000

Load = Callable[[], object]


def look(system: System, load: Load) -> dict[str, Counter[str]]:
    """Have a load run; return what one process of each kind was at. RabbitMQ is not in Python."""
    with TemporaryDirectory() as directory:
        found = {name: Path(directory) / name for name in system.processes if name != "broker"}
        with ExitStack() as stack:
            for name, into in found.items():
                stack.enter_context(sampling(system.processes[name][0], into))
            load()
        return {name: own_samples(into) for name, into in found.items()}


def table(title: str, system: System, load: Load) -> Table:
    """Return what the processes are at most: the share of their samples, and the function."""
    lines: list[list[str | Figure]] = [
        [name, f"{times / own.total():.0%}", f"`{function}`"]
        for name, own in look(system, load).items()
        for function, times in own.most_common(TOP)
        if own.total() >= FEWEST
    ]
    return Table(f"{title}, {system.name}", ["process", "of its samples", "function"], lines)


def fan_out_table(system: System, seconds: float) -> Table:
    """Look while one broadcast after the other goes to many."""
    with ExitStack() as stack:
        case = fan_out.case(stack, system, LISTENERS)
        title = f"One broadcast after the other to {LISTENERS:,} connections"
        return table(title, system, lambda: case.run(1, seconds))


def direct_table(system: System, seconds: float) -> Table:
    """Look while users write to each other."""
    ours = Ours()
    with Clients() as clients:
        direct.settle(system, clients, ours)
        said = direct.messages(ours)
        title = f"Direct messages, {WINDOW} outstanding"
        return table(title, system, lambda: clients.say(said, seconds=seconds, window=WINDOW))


def storm_table(system: System, seconds: float) -> Table:
    """Look while many come."""
    count = int(COMERS * seconds / SECONDS)
    return table("Connect and Welcome", system, lambda: storm.come(system, count))


def row(*, quick: bool = False) -> Outcome:
    """Look at each load in turn."""
    seconds = 2.0 if quick else SECONDS
    tables = []
    for system_of in (embedded, cluster):
        for look_at in (fan_out_table, direct_table, storm_table):
            with system_of() as system:
                tables.append(look_at(system, seconds))
    notes = [
        "By py-spy. A function's own time holds that of what it calls outside of Python.",
        "`Runner.run` is the event loop itself, which reads the sockets.",
    ]
    return Outcome("profile", "Where the time goes", tables, notes=notes)
