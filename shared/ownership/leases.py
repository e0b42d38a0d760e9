"""PURE: which nodes are alive.

A lease's age is counted in this replica's own heartbeats that came back through the broker: when
the broker is blocked, restarting or cut off, nothing comes back and nobody expires.
"""

from dataclasses import dataclass, field

from shared.messages.envelopes import Sender
from shared.recent import Recent

LEASE_BEATS = 11
"""Heartbeats, one a second, after which a silent node is given up. Presence promises 15 s (P2)."""

QUIET_BEATS = 3
"""After which a node is not waited for any longer, though it may yet be heard again."""

MAX_REMEMBERED = 10_000
"""Ended lives that are remembered, so that what they left in queues is ignored."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a piece of news did to the set of living nodes."""

    ended: tuple[Sender, ...] = ()
    """Lives that are over, with all they held."""

    clean: bool = True
    """Whether they ended by their own word, or live on anew; False: they fell silent."""

    refused: Sender | None = None
    """This one still speaks though its life is over; it must be told."""

    superseded: bool = False
    """``refused`` is a process whose node id a younger process has taken."""


@dataclass
class Leases:
    """The nodes that this replica believes to be alive, each with its present life."""

    alive: dict[str, Sender] = field(default_factory=dict)
    draining: set[Sender] = field(default_factory=set)
    """Those that send their clients to others."""

    _ages: dict[str, int] = field(default_factory=dict)
    _over: Recent[str, Sender] = field(default_factory=lambda: Recent(MAX_REMEMBERED))
    _last_beat: int = 0

    def renewed(self, sender: Sender) -> Change:
        """Hear from a node, by its lease or by one of its facts."""
        current = self.alive.get(sender.node_id)
        if current == sender:
            self._ages[sender.node_id] = 0
            return Change()
        latest = current or self._over.get(sender.node_id)
        if latest is not None and (sender == latest or sender.precedes(latest)):
            return Change(refused=sender, superseded=sender.process < latest.process)
        self.alive[sender.node_id] = sender
        self._ages[sender.node_id] = 0
        if current is None:
            return Change()
        self.draining.discard(current)
        return Change(ended=(current,))

    def ended(self, sender: Sender, *, clean: bool) -> Change:
        """Learn that a life is over, by its own word or because another replica gave it up."""
        if self.alive.get(sender.node_id) != sender:
            return Change()
        del self.alive[sender.node_id], self._ages[sender.node_id]
        self.draining.discard(sender)
        self._over.put(sender.node_id, sender)
        return Change((sender,), clean=clean)

    @property
    def quiet(self) -> list[str]:
        """Return the nodes that have not been heard for some beats."""
        return [node_id for node_id, age in self._ages.items() if age > QUIET_BEATS]

    def beat_returned(self, beat: int) -> Change:
        """Hear one's own heartbeat; with each new number everybody's lease is a beat older."""
        if beat == self._last_beat:
            return Change()
        self._last_beat = beat
        for node_id in self._ages:
            self._ages[node_id] += 1
        silent = [self.alive[node] for node, age in self._ages.items() if age > LEASE_BEATS]
        ended = tuple(gone for one in silent for gone in self.ended(one, clean=False).ended)
        return Change(ended, clean=False)
