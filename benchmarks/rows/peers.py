"""This service beside what a user would pick instead: one speaker, all others listen.

Each system is started anew in each round, alone, so that no other takes its caches or its core, and
all have a turn before one has the next, so that what else the machine does hits all alike.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from benchmarks.clients import Clients, LoadFailed, Message
from benchmarks.measuring import (
    RUNS,
    WARM_UP_SECONDS,
    Incomplete,
    Run,
    by_process,
    connect,
    measure,
    resident,
)
from benchmarks.outcomes import Bar, Figure, Outcome, Plot, Table
from benchmarks.peers import PEERS, NotInstalled, Peer
from benchmarks.peers.tongues import TOPIC
from benchmarks.processes import NotStarted
from benchmarks.systems import LIMIT, PAYLOAD_BYTES, System, cluster, embedded, limit, payload
from standalone import local_cluster

LISTENERS = 1000
WARM = 200
"""So many of them come first: what is allocated once is allocated then."""

WINDOWS = (1, 8)
ALONE = {
    "socket.io": (0.8, 0.25),
    "python-socketio": (0.15, 0.25),
    "ws": (1.1, 0.25),
    "websockets": (1.1, 0.25),
    "nchan": (1.1, 0.25),
    "nats-server": (None, 1.0),
}
"""What a delivery may cost with one and eight outstanding, as a share of what it costs these."""

TOGETHER = {"socket.io": (0.75, 0.3), "python-socketio": (0.2, 0.08)}
"""The same on two nodes."""

SECONDS = 3.0
SETTLE_SECONDS = 0.5
OURS = "this service"
FAILURES = (NotStarted, local_cluster.NotStarted, RuntimeError, LoadFailed, Incomplete)
"""What keeps one system from being measured: RuntimeError is a private RabbitMQ's."""


@dataclass(frozen=True)
class Contender:
    """A system that is to be measured, and how to start it."""

    name: str
    run: Callable[[], AbstractContextManager[System]]


@dataclass(frozen=True)
class Turn:
    """What one turn of a system has shown."""

    kb: float
    """Memory of an idle connection, by all processes."""

    runs: Mapping[int, Run]
    """By how many messages were outstanding."""


@dataclass(frozen=True)
class Standing:
    """A system's turns in all rounds."""

    name: str
    turns: Sequence[Turn]

    def cpu_us(self, window: int) -> Figure:
        """Return CPU microseconds per delivery, of all processes."""
        return Figure.of([one.runs[window].all_us for one in self.turns])

    def p50_ms(self, window: int) -> Figure:
        """Return the deliveries' median latency."""
        return Figure.of([one.runs[window].said.delivery_ms.p50 for one in self.turns])

    def p99_ms(self, window: int) -> Figure:
        """Return the latency that a hundredth of the deliveries exceed."""
        return Figure.of([one.runs[window].said.delivery_ms.p99 for one in self.turns])

    def share(self, least: "Standing", window: int) -> Figure:
        """Return its CPU as a share of another's, round by round."""
        pairs = zip(self.turns, least.turns, strict=True)
        return Figure.of([one.runs[window].all_us / by.runs[window].all_us for one, by in pairs])


@dataclass(frozen=True)
class Compared:
    """All that was measured, and why some could not be."""

    standings: Sequence[Standing]
    missing: Mapping[str, str]


def take_turn(contender: Contender, seconds: float) -> Turn:
    """Start a system, have many listen and one speak, and end it.

    Raises:
        NotStarted, RuntimeError: it did not start.
        LoadFailed: the load's program failed.
        Incomplete: something was not delivered, or twice, or somebody could not connect.
    """
    with contender.run() as system, Clients(answer=system.tongue.answer) as clients:
        tongue, ports = system.tongue, system.ports
        people = [tongue.listener(ports[n % len(ports)], n, TOPIC) for n in range(LISTENERS)]
        connect(clients, people[:WARM])
        clients.idle(SETTLE_SECONDS)
        before = sum(resident(system).values())
        connect(clients, people[WARM:])
        clients.idle(SETTLE_SECONDS)
        kb = (sum(resident(system).values()) - before) / (LISTENERS - WARM)
        connect(clients, [tongue.speaker(ports[0], 0)])
        said = [Message(LISTENERS, LISTENERS, tongue.broadcast(TOPIC, payload()))]
        runs = {}
        for window in WINDOWS:
            for length in (WARM_UP_SECONDS, seconds):
                runs[window] = measure(
                    system, clients, said, seconds=length, window=window, awake=len(ports) == 1
                )
    return Turn(kb, runs)


def compare(contenders: Sequence[Contender], *, seconds: float, rounds: int = RUNS) -> Compared:
    """Measure systems in turn, round by round. Who fails in one round has no turn in the next."""
    turns: dict[str, list[Turn]] = {one.name: [] for one in contenders}
    missing: dict[str, str] = {}
    for _ in range(rounds):
        for one in contenders:
            if one.name not in missing:
                try:
                    turns[one.name].append(take_turn(one, seconds))
                except FAILURES as error:
                    missing[one.name] = str(error)
    standings = [Standing(name, all_) for name, all_ in turns.items() if name not in missing]
    return Compared(standings, missing)


def installed(peers: Sequence[Peer]) -> tuple[list[Peer], dict[str, str]]:
    """Install peers; return those that could be, and why others could not."""
    found, missing = list[Peer](), dict[str, str]()
    for one in peers:
        try:
            one.install()
        except NotInstalled as error:
            missing[one.name] = str(error)
        else:
            found.append(one)
    return found, missing


def one_node(found: Compared) -> list[list[str | Figure]]:
    """Return a line of the table for each system, the limit among them."""
    least = next((one for one in found.standings if one.name == LIMIT), None)
    return [
        [
            one.name,
            *(one.cpu_us(window) for window in WINDOWS),
            *(one.share(least, window) if least else "" for window in WINDOWS),
            *latencies(one),
            Figure.of([turn.kb for turn in one.turns]),
        ]
        for one in found.standings
    ]


def two_nodes(found: Compared) -> list[list[str | Figure]]:
    """Return a line of the table for each system."""
    return [
        [
            one.name,
            *(one.cpu_us(window) for window in WINDOWS),
            *(by_process([turn.runs[window] for turn in one.turns]) for window in WINDOWS),
            *latencies(one),
            Figure.of([turn.kb for turn in one.turns]),
        ]
        for one in found.standings
    ]


def held_to(found: Compared, bars: Mapping[str, tuple[float | None, ...]], where: str) -> list[Bar]:
    """Return what ours may cost as a share of others, of those that were measured."""
    ours = next((one for one in found.standings if one.name.startswith(OURS)), None)
    return [
        Bar(
            f"{where}, {window} outstanding: CPU per delivery, as a share of {other.name}",
            most,
            ours.share(other, window),
        )
        for other in found.standings
        for window, most in zip(WINDOWS, bars.get(other.name.split()[0], ()), strict=False)
        if ours is not None and most is not None
    ]


def plot(found: Compared, title: str) -> Plot:
    """Return a picture of what a delivery costs each."""
    groups = [f"{window} outstanding" for window in WINDOWS]
    series = {one.name: [one.cpu_us(window) for window in WINDOWS] for one in found.standings}
    return Plot(title, "µs per delivery", groups, series)


def latencies(one: Standing) -> list[Figure]:
    """Return the percentiles of deliveries for each window."""
    return [of(window) for window in WINDOWS for of in (one.p50_ms, one.p99_ms)]


def columns(second: str) -> list[str]:
    """Return the names of the columns, the second group of which differs."""
    return [
        "system",
        *(f"CPU µs per delivery, {window} outstanding" for window in WINDOWS),
        *(f"{second}, {window}" for window in WINDOWS),
        *(f"{percentile} ms, {window}" for window in WINDOWS for percentile in ("p50", "p99")),
        "kB per idle connection",
    ]


def row(*, quick: bool = False) -> Outcome:
    """Measure it: everyone alone on one core, then those that run on two nodes."""
    seconds, rounds = (1.0, 1) if quick else (SECONDS, RUNS)
    peers, missing = installed(PEERS)
    alone = [
        Contender(LIMIT, limit),
        Contender(f"{OURS}, embedded", embedded),
        *(Contender(f"{one.name} {one.version}", one.run) for one in peers),
    ]
    together = [
        Contender(f"{OURS}, cluster over RabbitMQ", cluster),
        *(
            Contender(f"{one.name} {one.version} over {one.between}", partial(one.run, 2))
            for one in peers
            if one.between
        ),
    ]
    first = compare(alone, seconds=seconds, rounds=rounds)
    second = compare(together, seconds=seconds, rounds=rounds)
    bars = [*held_to(first, ALONE, "one node"), *held_to(second, TOGETHER, "two nodes")]
    left_out = {**missing, **first.missing, **second.missing}
    return Outcome(
        "peers",
        "Side by side",
        [
            Table("One node, on one core", columns("share of the limit"), one_node(first)),
            Table("Two nodes, all processes", columns("of these"), two_nodes(second)),
        ],
        bars=bars,
        plots=[plot(first, "One node: CPU of all processes"), plot(second, "Two nodes")],
        notes=[
            f"One says {PAYLOAD_BYTES} B, {LISTENERS:,} listen.",
            f"Memory is of all processes, per connection after the first {WARM}.",
            *(f"Not measured: {name}: {reason}." for name, reason in left_out.items()),
        ],
    )
