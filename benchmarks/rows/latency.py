"""How long a broadcast takes from a client of one node to those of another, at a moderate rate."""

from benchmarks import disk, round_trip
from benchmarks.clients import Clients, Message
from benchmarks.measuring import connect, runs
from benchmarks.outcomes import Bar, Figure, Outcome, Table
from benchmarks.systems import cluster, payload

LISTENERS = 10
RATE = 100.0
SIZE = 400
MOST_P50_MS = 1.5
MOST_P99_MS = 5.0


def row(*, quick: bool = False) -> Outcome:
    """Measure it."""
    seconds, bare, syncs = (5.0 if quick else 10.0), list[list[float]](), list[list[float]]()
    with cluster() as system, Clients() as clients:
        tongue, (near, far) = system.tongue, system.ports
        listeners = [tongue.listener(far, number, "bench") for number in range(LISTENERS)]
        connect(clients, [*listeners, tongue.speaker(near, 0)])
        message = Message(LISTENERS, LISTENERS, tongue.broadcast("bench", payload()))
        ours = []
        for _ in range(3):  # in turn, so that what else the machine does hits both alike
            count = int(seconds * RATE)
            syncs.append(disk.sync_times_ms(rate=RATE, count=count, size=SIZE))
            bare.append(round_trip.measure(system.amqp_url, rate=RATE, count=count, size=SIZE))
            ours += runs(system, clients, [message], seconds=seconds, rate=RATE, times=1)
    lines: list[list[str | Figure]] = [
        _line("a write to the disk", syncs),
        _line("bare round trip", bare),
        [
            "cluster",
            Figure.of([one.said.delivery_ms.p50 for one in ours]),
            Figure.of([one.said.delivery_ms.p99 for one in ours]),
        ],
    ]
    pairs = list(zip(ours, bare, strict=True))
    added = "added to the bare round trip, "
    bars = [
        Bar(
            added + "p50",
            MOST_P50_MS,
            Figure.of([one.said.delivery_ms.p50 - _at(trip, 0.5) for one, trip in pairs]),
            "ms",
        ),
        Bar(
            added + "p99",
            MOST_P99_MS,
            Figure.of([one.said.delivery_ms.p99 - _at(trip, 0.99) for one, trip in pairs]),
            "ms",
        ),
    ]
    title = f"{RATE:.0f} broadcasts a second at one node to {LISTENERS} connections at the other"
    table = Table(title, ["way", "p50 ms", "p99 ms"], lines)
    notes = [
        (
            "Each broadcast passes a quorum queue, and so waits for one write to RabbitMQ's disk "
            "(`fdatasync`); the bare round trip is by queues in memory."
        )
    ]
    return Outcome("latency", "Latency across nodes", [table], bars, notes)


def _line(what: str, times: list[list[float]]) -> list[str | Figure]:
    return [what, *(Figure.of([_at(one, share) for one in times]) for share in (0.5, 0.99))]


def _at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
