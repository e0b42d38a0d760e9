"""PURE: a history put together by command, connection, client and fault; and what to hold it to."""

import math
from collections import defaultdict
from dataclasses import dataclass, field

from tests.chaos.history import (
    Acked,
    Closed,
    Event,
    Failed,
    FaultBegan,
    FaultEnded,
    History,
    Key,
    Kind,
    Opening,
    PresenceSeen,
    Received,
    Sent,
    Stalled,
    Subscribed,
    Subscribing,
    Unsubscribed,
    Unsubscribing,
    Welcomed,
)

Talk = Subscribing | Subscribed | Unsubscribing | Unsubscribed | Received | PresenceSeen


@dataclass(frozen=True)
class Limits:
    """What the history is held to."""

    answer: float = 5.0
    """Every command is answered within this."""

    resume: float = 15.0
    """After a fault, service is back within this."""

    presence: float = 15.0
    """Presence and truth may differ for this long."""

    in_flight: float = 1.0
    """What a plain client may lose of the time before its connection broke (F1)."""

    slack: float = 2.0
    """What a busy machine adds to all of them."""

    retention_seconds: float = 300.0
    retention_messages: int = 100
    """What history keeps of a topic, at least (H4)."""

    history: bool = True
    """Broadcasts are kept: an Ack is a promise also where it says ``partial``."""


@dataclass
class Command:
    """One thing that a client wanted done, however often it had to say so."""

    key: Key
    kind: Kind
    to: str
    sends: list[Sent] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    """Where in the history its ``sends`` are."""

    acks: list[Acked] = field(default_factory=list)
    failures: list[Failed] = field(default_factory=list)

    @property
    def connections(self) -> set[str]:
        """The connections it was sent on."""
        return {one.connection for one in self.sends}


@dataclass
class Connection:
    """One WebSocket of a client."""

    name: str
    client: str
    user: str
    resumes: bool
    opening: float
    welcomed: float = math.inf
    closed: float = math.inf
    wanted: bool = False
    connection_id: str = ""
    node: str = ""
    talk: list[Talk] = field(default_factory=list)

    def is_open_at(self, at: float) -> bool:
        """Whether it was welcomed and not yet closed."""
        return self.welcomed <= at < self.closed


@dataclass
class Fault:
    """One injection."""

    name: str
    target: str
    begin: float
    end: float = math.inf
    cut_off: tuple[str, ...] = ()

    def strikes(self, node: str) -> bool:
        """Whether a process is the one that was struck, or was cut off from RabbitMQ by this."""
        return node == self.target or node in self.cut_off


class Reading:
    """A history that can be asked."""

    def __init__(self, history: History, limits: Limits) -> None:
        self.limits = limits
        self.commands: dict[Key, Command] = {}
        self.connections: dict[str, Connection] = {}
        self.by_id: dict[str, Connection] = {}
        self.of_client: dict[str, list[Connection]] = defaultdict(list)
        self.of_user: dict[str, list[Connection]] = defaultdict(list)
        self.faults: list[Fault] = []
        self.queues = history.queues
        self.end = max((one.at for one in history.events), default=0.0)
        self._stalls: list[Stalled] = []
        for place, event in enumerate(history.events):
            self._read(place, event)

    def _read(self, place: int, event: Event) -> None:
        match event:
            case Sent():
                new = Command(event.key, event.kind, event.to)
                command = self.commands.setdefault(event.key, new)
                command.sends.append(event)
                command.places.append(place)
            case Acked():
                self.commands[event.key].acks.append(event)
            case Failed():
                self.commands[event.key].failures.append(event)
            case Opening() | Welcomed() | Closed():
                self._connect(event)
            case FaultBegan():
                self.faults.append(Fault(event.name, event.target, event.at))
            case FaultEnded():
                self._end_fault(event)
            case Stalled():
                self._stalls.append(event)
            case (
                Subscribing()
                | Subscribed()
                | Unsubscribing()
                | Unsubscribed()
                | Received()
                | PresenceSeen()
            ):
                self.connections[event.connection].talk.append(event)

    def _connect(self, event: Opening | Welcomed | Closed) -> None:
        if isinstance(event, Opening):
            new = Connection(event.connection, event.client, event.user, event.resumes, event.at)
            self.connections[new.name] = new
            self.of_client[new.client].append(new)
            self.of_user[new.user].append(new)
            return
        connection = self.connections[event.connection]
        if isinstance(event, Welcomed):
            connection.welcomed = event.at
            connection.connection_id, connection.node = event.connection_id, event.node
            self.by_id[event.connection_id] = connection
        else:
            connection.closed, connection.wanted = event.at, event.wanted

    def _end_fault(self, event: FaultEnded) -> None:
        for fault in reversed(self.faults):
            if (fault.name, fault.target, fault.end) == (event.name, event.target, math.inf):
                fault.end, fault.cut_off = event.at, event.cut_off
                return

    def stalls(self, begin: float, end: float) -> float:
        """Return for how long the recorder itself was held up in a time."""
        return sum(one.seconds for one in self._stalls if begin <= one.at <= end + one.seconds)

    def disturbed(self, begin: float, end: float) -> list[Fault]:
        """Return the faults that were active at some moment of a time."""
        return [one for one in self.faults if one.begin <= end and one.end >= begin]

    def calm(self, since: float, seconds: float) -> float:
        """Return when, after a moment, so many seconds have passed without any fault in them."""
        for fault in sorted(self.faults, key=lambda one: one.begin):
            if fault.begin < since + seconds and fault.end > since:
                since = fault.end
        return since + seconds

    def in_flight_since(self, closed: float) -> float:
        """Return since when something may have been on its way when a connection broke.

        A fault that is still active then may have held everything up since it began.
        """
        begin = closed - self.limits.in_flight
        active = self.disturbed(begin, closed)
        return min([begin, *(one.begin - self.limits.in_flight for one in active)])


def covers(pattern: str, topic: str) -> bool:
    """Whether a pattern meets a topic (T1)."""
    head, _, rest = pattern.partition(".")
    if head == "#":
        return True
    word, _, further = topic.partition(".")
    if head not in {"*", word}:
        return False
    if not rest or not further:
        return rest in {"", "#"} and not further
    return covers(rest, further)
