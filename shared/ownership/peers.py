"""PURE: what the replicas of one service hear of each other.

Like a lease, a peer's age is counted in this replica's own heartbeats that came back.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from shared.messages.news import Heartbeat
from shared.partitions import shares

PEER_BEATS = 3
"""Heartbeats, one a second, after which a silent peer is not counted on any more."""

MIN_SECONDS = 2.0
"""How long a reign lasts at least, unless it is cut short: nothing moves to and fro."""


@dataclass
class Peer:
    """Another replica, as it was heard of last."""

    heartbeat: Heartbeat
    age: int = 0


@dataclass
class Peers:
    """The other replicas of this one's service."""

    service: str
    replica: str
    _peers: dict[str, Peer] = field(default_factory=dict)
    _terms: dict[int, int] = field(default_factory=dict)

    def heard(self, heartbeat: Heartbeat) -> None:
        """Hear from a replica."""
        if heartbeat.service != self.service or heartbeat.replica == self.replica:
            return
        self._peers[heartbeat.replica] = Peer(heartbeat)
        for partition, term in heartbeat.terms.items():
            self._terms[partition] = max(term, self.highest_term(partition))

    def beat_returned(self) -> None:
        """Hear one's own heartbeat: everybody is a beat older."""
        for peer in self._peers.values():
            peer.age += 1
        self._peers = {name: one for name, one in self._peers.items() if one.age <= PEER_BEATS}

    def highest_term(self, partition: int) -> int:
        """Return the highest term that another replica said it reigns with; 0 for none."""
        return self._terms.get(partition, 0)

    def serve(self, partition: int) -> bool:
        """Whether another replica says that it serves this partition."""
        return any(partition in peer.heartbeat.terms for peer in self._peers.values())

    def due_to_others(self, owned: dict[int, float], partitions: int) -> Iterator[int]:
        """Yield the partitions that another replica should own, and stands by for.

        ``owned`` are this replica's own, with the seconds that each reign lasts already.
        """
        owners = shares(partitions, sorted([self.replica, *self._peers]))
        for partition, seconds in owned.items():
            heir = self._peers.get(owners[partition])
            if heir and seconds >= MIN_SECONDS and partition in heir.heartbeat.standing_by:
                yield partition
