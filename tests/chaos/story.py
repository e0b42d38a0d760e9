"""PURE: histories told by hand, one event after the other, for the tests of the checker."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.chaos.checker import Verdict, check
from tests.chaos.history import (
    Acked,
    Closed,
    Ended,
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
    Recovery,
    Sent,
    Stalled,
    Subscribed,
    Subscribing,
    Unsubscribed,
    Unsubscribing,
    Welcomed,
)
from tests.chaos.reading import Limits

TICK = 0.01


@dataclass
class Story:
    """A history in the making. Every event takes a tick; ``wait`` takes longer."""

    now: float = 0.0
    events: list[Event] = field(default_factory=list)
    queues: dict[str, int] = field(default_factory=dict)
    _connections: dict[str, int] = field(default_factory=dict)
    _kinds: dict[Key, tuple[Kind, str]] = field(default_factory=dict)
    _users: dict[str, str] = field(default_factory=dict)

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def tell(self, event: Event) -> None:
        self.events.append(event)
        self.now += TICK

    def on(self, client: str) -> str:
        """The client's present connection."""
        return f"{client}/{self._connections[client]}"

    # ---- connections -----------------------------------------------------------------------------

    def open(self, *clients: str, node: str = "gateway-1", plain: bool = False) -> None:
        for client in clients:
            self._connections[client] = self._connections.get(client, 0) + 1
            user = client.split("@", maxsplit=1)[0]
            self._users[client] = user
            self.tell(Opening(self.now, self.on(client), client, user, not plain))
            self.tell(Welcomed(self.now, self.on(client), f"id:{self.on(client)}", node))

    def close(self, client: str, *, wanted: bool = False) -> None:
        self.tell(Closed(self.now, self.on(client), wanted=wanted))

    def subscribe(self, client: str, *patterns: str, recoveries: Iterable[Recovery] = ()) -> None:
        self.tell(Subscribing(self.now, self.on(client), patterns))
        self.tell(Subscribed(self.now, self.on(client), patterns, tuple(recoveries)))

    def unsubscribe(self, client: str, *patterns: str) -> None:
        self.tell(Unsubscribing(self.now, self.on(client), patterns))
        self.tell(Unsubscribed(self.now, self.on(client), patterns))

    def presence(self, client: str, user: str, status: str) -> None:
        self.tell(PresenceSeen(self.now, self.on(client), user, status))

    # ---- commands --------------------------------------------------------------------------------

    def send(self, sender: str, number: int, to: str, kind: Kind = "broadcast") -> None:
        self._kinds[Key(sender, number)] = (kind, to)
        self.tell(Sent(self.now, Key(sender, number), self.on(sender), kind, to))

    def ack(
        self,
        sender: str,
        number: int,
        status: str = "delivered",
        *,
        recipients: int | None = None,
        to: Iterable[str] = (),
    ) -> None:
        key, ids = Key(sender, number), tuple(f"id:{one}" for one in to)
        self.tell(Acked(self.now, key, self.on(sender), status, recipients, ids))

    def fail(
        self, sender: str, number: int, code: int = 503, outcome: str = "", **queued: bool
    ) -> None:
        key = Key(sender, number)
        self.tell(Failed(self.now, key, self.on(sender), code, queued.get("queued"), outcome))

    def receive(
        self,
        client: str,
        sender: str,
        number: int,
        *,
        name: str = "",
        at: tuple[int, str] | None = None,
        replayed: bool = False,
        topic: str = "",
    ) -> None:
        """``at`` is the place in the topic's history: offset and epoch."""
        kind, to = self._kinds.get(Key(sender, number), ("broadcast", topic))
        offset, epoch = at or (None, "")
        self.tell(
            Received(
                self.now,
                self.on(client),
                kind,
                Key(sender, number),
                name or f"{kind}_{sender}_{number}",
                (topic or to) if kind == "broadcast" else "",
                offset,
                epoch,
                replayed,
            )
        )

    def broadcast(self, sender: str, number: int, topic: str, *listeners: str) -> None:
        """From the command to its Ack, heard by these."""
        self.send(sender, number, topic)
        for listener in listeners:
            self.receive(listener, sender, number)
        self.ack(sender, number, recipients=len(listeners))

    def direct(self, sender: str, number: int, target: str) -> None:
        """From the command to its Ack."""
        self.send(sender, number, target, "direct")
        self.receive(target, sender, number)
        self.ack(sender, number, to=[self.on(target)])

    # ---- faults ----------------------------------------------------------------------------------

    def begin(self, name: str, target: str = "gateway-1") -> None:
        self.tell(FaultBegan(self.now, name, target))

    def end(self, name: str, target: str = "gateway-1", *, cut_off: tuple[str, ...] = ()) -> None:
        self.tell(FaultEnded(self.now, name, target, cut_off))

    def stall(self, seconds: float) -> None:
        self.now += seconds
        self.tell(Stalled(self.now, seconds))

    def check(self, limits: Limits | None = None) -> Verdict:
        events = [*self.events, Ended(self.now)]
        return check(History(events, self.queues), limits)
