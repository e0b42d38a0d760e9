"""PURE: where every user of one partition is, and how they are to be seen (P2).

Every change answers with its difference.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec
from msgspec import Raw

from shared.messages.envelopes import Opened, Sender
from shared.topics.pattern import presence_topic

GRACE_MS = 5_000
"""How long a user may be gone after a clean close before others hear of it (P2)."""


@dataclass(frozen=True, slots=True)
class Location:
    """A connection, and the life of the node that holds it."""

    user_id: str
    connection_id: str
    sender: Sender


@dataclass(frozen=True, slots=True)
class Diff:
    """What a change did."""

    appeared: tuple[Location, ...] = ()
    """Connections that were not known before."""

    joined: tuple[str, ...] = ()
    """Users who came online."""

    left: tuple[str, ...] = ()
    """Users who went offline."""


@dataclass
class Person:
    """A user who is online, or has been until just now."""

    user_id: str
    status: str = "online"
    last_seen_ms: int = 0
    connections: dict[str, Sender] = field(default_factory=dict)
    claims: bytes = b"{}"
    set_by_client: bytes = b"{}"
    leaves_at_ms: int | None = None

    @property
    def metadata(self) -> bytes:
        """What others see: the token's claims, overlaid with what the client set."""
        claims = msgspec.json.decode(self.claims, type=dict[str, Raw])
        own = msgspec.json.decode(self.set_by_client, type=dict[str, Raw])
        return msgspec.json.encode({**claims, **own})


class Directory:
    """Users and their connections. A node that has not reported in this reign may hold more."""

    def __init__(self) -> None:
        self.people: dict[str, Person] = {}
        self.reported: set[str] = set()
        """Nodes whose connections are all known."""

        self._by_topic: dict[str, str] = {}
        self._reporting: dict[str, set[str]] = {}
        self._leaving: set[str] = set()
        self._unseen: set[str] = set()
        """Users whom an earlier owner has announced, and nobody has reported since."""

    def restore(self, person: Person) -> None:
        """Learn that an earlier owner has announced a user; where they are is to be reported."""
        self.people[person.user_id] = person
        self._by_topic[presence_topic(person.user_id)] = person.user_id
        self._unseen.add(person.user_id)

    def forget(self, user_id: str) -> None:
        """Learn that an earlier owner has announced that a user is gone."""
        if user_id in self.people:
            self._left([user_id])

    def miss(self, *, now_ms: int) -> None:
        """Everybody who could has reported: whoever was not reported is gone, or about to be."""
        for user_id in list(self._unseen):
            self.closed(user_id, [], now_ms=now_ms)

    def opened(self, sender: Sender, opened: Opened, *, now_ms: int) -> Diff:
        """A connection appeared."""
        person = self.people.get(opened.user_id)
        joined = person is None
        if person is None:
            person = self.people[opened.user_id] = Person(opened.user_id, last_seen_ms=now_ms)
            self._by_topic[presence_topic(opened.user_id)] = opened.user_id
        known = opened.connection_id in person.connections
        person.connections[opened.connection_id] = sender
        person.claims = opened.metadata
        person.leaves_at_ms = None
        self._leaving.discard(person.user_id)
        self._unseen.discard(person.user_id)
        location = Location(opened.user_id, opened.connection_id, sender)
        return Diff(
            appeared=() if known else (location,),
            joined=(opened.user_id,) if joined else (),
        )

    def closed(self, user_id: str, connection_ids: Iterable[str], *, now_ms: int) -> None:
        """Connections are gone; if they were the user's last, the grace begins."""
        person = self.people.get(user_id)
        if person is None:
            return
        for connection_id in connection_ids:
            person.connections.pop(connection_id, None)
        if not person.connections and person.leaves_at_ms is None:
            person.leaves_at_ms = now_ms + GRACE_MS
            self._leaving.add(user_id)
            self._unseen.discard(user_id)

    def ended(self, sender: Sender, *, clean: bool, now_ms: int) -> Diff:
        """A node's life is over, with all connections it held; unless clean, without grace."""
        self.reported.discard(sender.node_id)
        gone = []
        for person in self._at(sender.node_id):
            held = [one for one, at in person.connections.items() if at == sender]
            self.closed(person.user_id, held, now_ms=now_ms)
            if not clean and not person.connections:
                gone.append(person.user_id)
        return self._left(gone)

    def report(
        self, sender: Sender, opened: list[Opened], *, first: bool, last: bool, now_ms: int
    ) -> Diff:
        """A node tells all connections it holds, in one part or several."""
        if first:
            self._reporting[sender.node_id] = set()
        told = self._reporting.setdefault(sender.node_id, set())
        diffs = [self.opened(sender, one, now_ms=now_ms) for one in opened]
        told.update(one.connection_id for one in opened)
        if last:
            self._drop_untold(sender.node_id, told, now_ms)
            del self._reporting[sender.node_id]
            self.reported.add(sender.node_id)
        return Diff(
            appeared=tuple(one for diff in diffs for one in diff.appeared),
            joined=tuple(one for diff in diffs for one in diff.joined),
        )

    def _drop_untold(self, node_id: str, told: set[str], now_ms: int) -> None:
        for person in self._at(node_id):
            untold = [
                one
                for one, at in person.connections.items()
                if at.node_id == node_id and one not in told
            ]
            if untold:
                self.closed(person.user_id, untold, now_ms=now_ms)

    def shown(self, user_id: str, status: str, metadata: bytes | None, *, now_ms: int) -> bool:
        """A client says how its user is to be seen; return whether the user is here at all."""
        person = self.people.get(user_id)
        if person is None:
            return False
        person.status = status
        person.last_seen_ms = now_ms
        if metadata is not None:
            person.set_by_client = metadata
        return True

    def due(self, *, now_ms: int) -> Diff:
        """Let those go whose grace is over."""
        gone = [
            user_id
            for user_id in self._leaving
            if (self.people[user_id].leaves_at_ms or 0) <= now_ms
        ]
        return self._left(gone)

    def _left(self, gone: list[str]) -> Diff:
        for user_id in gone:
            del self.people[user_id]
            del self._by_topic[presence_topic(user_id)]
            self._leaving.discard(user_id)
            self._unseen.discard(user_id)
        return Diff(left=tuple(gone))

    def nodes_of(self, user_id: str) -> set[str]:
        """Return the nodes that hold connections of a user."""
        person = self.people.get(user_id)
        return {at.node_id for at in person.connections.values()} if person else set()

    def connections_of(self, user_id: str) -> dict[str, Sender]:
        """Return a user's connections at all nodes, and where each is."""
        person = self.people.get(user_id)
        return person.connections if person else {}

    def connections_at(self, user_id: str, node_id: str) -> list[str]:
        """Return a user's connections at one node."""
        person = self.people.get(user_id)
        if person is None:
            return []
        return [one for one, at in person.connections.items() if at.node_id == node_id]

    def seen_on(self, topic: str) -> Person | None:
        """Return the user whose presence topic this is, if they are online."""
        user_id = self._by_topic.get(topic)
        return self.people[user_id] if user_id is not None else None

    def _at(self, node_id: str) -> Iterator[Person]:
        for person in list(self.people.values()):
            if any(at.node_id == node_id for at in person.connections.values()):
                yield person
