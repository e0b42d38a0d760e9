"""PURE: the cluster as the dashboard shows it, now and over the last minutes."""

from collections import deque

from msgspec import Struct

from shared.broker import topology
from shared.overview import GATEWAY, Process

REMEMBERED_SECONDS = 300


class Sample(Struct, array_like=True):
    """The cluster at one moment."""

    at: float
    """Monotonic, in seconds."""

    connections: int
    taken_rate: float
    given_rate: float
    p50_ms: float
    p99_ms: float
    """Of the slowest gateway: percentiles cannot be added up."""


class Gateway(Struct):
    """A gateway as it told of itself."""

    node: str
    release: str
    connections: int
    taken_rate: float
    given_rate: float
    p50_ms: float
    p99_ms: float
    draining: bool
    silent_seconds: float


class Replica(Struct):
    """A replica of the router or of the presence service as it told of itself."""

    node: str
    release: str
    service: str
    serves: list[int]
    stands_by: int
    """For so many partitions."""

    rate: float
    """Commands and facts carried out a second."""

    silent_seconds: float


class State(Struct):
    """All that the page shows. No user, no topic, no id of a connection (W26)."""

    node: str
    """The gateway that tells this."""

    partitions: int
    now: float
    """The moment of this state on the clock of the samples."""

    heard: bool
    """Whether anything was heard of the cluster just now."""

    gateways: list[Gateway]
    replicas: list[Replica]
    past: list[Sample]


class Past:
    """The samples of the last minutes, a second apart; none of seconds without news."""

    def __init__(self) -> None:
        self.samples: deque[Sample] = deque(maxlen=REMEMBERED_SECONDS)

    def note(self, processes: list[Process], now: float) -> None:
        """Take a sample of what is known of the cluster now."""
        gateways = [one for one in processes if one.role == GATEWAY]
        self.samples.append(
            Sample(
                round(now, 2),
                sum(one.connections for one in gateways),
                round(sum(one.taken_rate for one in gateways), 1),
                round(sum(one.given_rate for one in gateways), 1),
                max((one.p50_ms for one in gateways), default=0.0),
                max((one.p99_ms for one in gateways), default=0.0),
            )
        )

    def lately(self, now: float) -> list[Sample]:
        """Return what is not too old to be shown."""
        return [one for one in self.samples if now - one.at < REMEMBERED_SECONDS]


def gateways(processes: list[Process], now: float) -> list[Gateway]:
    """Return the gateways among the processes."""
    return [
        Gateway(
            one.node,
            one.release,
            one.connections,
            round(one.taken_rate, 1),
            round(one.given_rate, 1),
            one.p50_ms,
            one.p99_ms,
            one.draining,
            round(now - one.seen_at, 1),
        )
        for one in processes
        if one.role == GATEWAY
    ]


def replicas(processes: list[Process], now: float) -> list[Replica]:
    """Return the replicas among the processes, the router's first."""
    return [
        Replica(
            one.node,
            one.release,
            one.role,
            sorted(one.serves),
            len(one.stands_by),
            round(one.taken_rate, 1),
            round(now - one.seen_at, 1),
        )
        for service in (topology.ROUTER, topology.PRESENCE)
        for one in processes
        if one.role == service
    ]
