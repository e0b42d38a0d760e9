"""One broadcast of 200 B to many connections, with one, eight and 64 of them outstanding."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.clients import Clients, Message
from benchmarks.measuring import RUNS, WARM_UP_SECONDS, Run, crowd, measure
from benchmarks.outcomes import Bar, Figure, Outcome, Plot, Table
from benchmarks.systems import LIMIT, System, cluster, embedded, limit, payload

WINDOWS = {1: 1.4, 8: 0.4, 64: 0.2}
"""How many are outstanding, and what a delivery may cost then, as a share of the limit."""

COLUMNS = [
    "connections",
    "outstanding",
    "system",
    "CPU µs per delivery",
    "of these, who writes to sockets",
    "share of the limit",
    "p50 ms",
    "p99 ms",
    "clients' share of a core",
]


@dataclass(frozen=True)
class Case:
    """A system with the connections that listen."""

    system: System
    clients: Clients
    message: Message

    def run(self, window: int, seconds: float) -> Run:
        """Measure once."""
        return measure(
            self.system,
            self.clients,
            [self.message],
            seconds=seconds,
            window=window,
            awake=True,
        )


def writing_us(run: Run) -> float:
    """Return what the process costs per delivery that writes to the sockets."""
    return next(iter(run.cpu_us.values()))


def case(stack: ExitStack, system: System, connections: int) -> Case:
    """Have so many listen to a topic of a system, and one speak, the last."""
    clients = stack.enter_context(crowd(system, connections))
    text = system.tongue.broadcast("bench", payload())
    return Case(system, clients, Message(connections, connections, text))


def measure_rounds(
    cases: Sequence[Case], window: int, seconds: float, times: int = RUNS
) -> dict[str, list[Run]]:
    """Measure all in turn, round by round, so that what else the machine does hits all alike."""
    for one in cases:
        one.run(window, WARM_UP_SECONDS)
    found: dict[str, list[Run]] = {one.system.name: [] for one in cases}
    for _ in range(times):
        for one in cases:
            found[one.system.name].append(one.run(window, seconds))
    return found


def shares(found: dict[str, list[Run]], name: str) -> Figure:
    """Return what a delivery costs whoever writes it, as a share of the limit, round by round."""
    pairs = zip(found[name], found[LIMIT], strict=True)
    return Figure.of([writing_us(one) / writing_us(least) for one, least in pairs])


def lines(connections: int, window: int, found: dict[str, list[Run]]) -> list[list[str | Figure]]:
    """Return a line of the table for each system."""
    return [
        [
            str(connections),
            str(window),
            name,
            Figure.of([one.all_us for one in runs]),
            _cost(runs),
            shares(found, name),
            Figure.of([one.said.delivery_ms.p50 for one in runs]),
            Figure.of([one.said.delivery_ms.p99 for one in runs]),
            Figure.of([one.clients_share for one in runs]),
        ]
        for name, runs in found.items()
    ]


def row(*, quick: bool = False) -> Outcome:
    """Measure it: each system in its turn beside the limit, so that no other takes its caches."""
    seconds = 1.0 if quick else 2.0
    table: list[list[str | Figure]] = []
    plots: list[Plot] = []
    bars: list[Bar] = []
    for connections in [1000] if quick else [1000, 5000]:
        costs: dict[str, list[Figure]] = {}
        for system_of in (embedded, cluster):
            with ExitStack() as stack:
                systems = [stack.enter_context(one()) for one in (limit, system_of)]
                cases = [case(stack, one, connections) for one in systems]
                name = systems[-1].name
                found = {window: measure_rounds(cases, window, seconds) for window in WINDOWS}
            for window, runs in found.items():
                table += lines(connections, window, runs)
                bars.append(bar(connections, window, name, shares(runs, name)))
            costs |= {one: [_cost(runs[one]) for runs in found.values()] for one in (LIMIT, name)}
        title = f"{connections} connections: CPU of the process that writes"
        outstanding = [f"{window} outstanding" for window in WINDOWS]
        plots.append(Plot(title, "µs per delivery", outstanding, costs))
    notes = ["The limit is a server in C that writes a finished frame to each socket, one by one."]
    return Outcome("fan-out", "Fan-out", [Table("", COLUMNS, table)], bars, notes, plots)


def bar(connections: int, window: int, name: str, share: Figure) -> Bar:
    """Return what a delivery may cost a system, and what it does."""
    what = (
        f"{name}, {connections} connections, {window} outstanding: the gateway's CPU per delivery, "
        "as a share of the limit"
    )
    return Bar(what, WINDOWS[window], share)


def _cost(runs: list[Run]) -> Figure:
    return Figure.of([writing_us(one) for one in runs])
