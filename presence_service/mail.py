"""One partition's direct messages: what waits for whom, and what is being handed to nodes."""

from collections.abc import Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from presence_service.core.holds import Holds
from presence_service.core.mailbox import Limits, Mailboxes
from presence_service.people import PeopleOwner
from shared.broker import topology
from shared.broker.ports import Address
from shared.messages import codec
from shared.messages.answers import Located, Stored
from shared.messages.deliveries import DirectDelivery
from shared.messages.envelopes import Sender
from shared.messages.records import Drained, Kept, Record
from shared.ownership.effects import Traced
from shared.ownership.leases import Leases


@dataclass(frozen=True)
class Given:
    """A message that is being handed to nodes."""

    delivery: DirectDelivery
    addresses: dict[Address, str]
    """Address to node."""

    accepted: bool
    """Whether its sender was told already that it is taken care of."""


class MailOwner(PeopleOwner[Given]):
    """Keeps mailboxes, and hands messages to the nodes where their users are."""

    persistent = True

    def __init__(self, leases: Leases, limits: Limits) -> None:
        super().__init__(leases)
        self.mailboxes = Mailboxes(limits)
        self._holds = Holds()
        self._now_ms = 0
        self._held_up: set[str] = set()
        """Users who are here and for whom something waits nevertheless: a node refused it."""

        self._quiet: set[str] = set()
        """Nodes that have not been heard for a while."""

        self._full: dict[str, set[str]] = {}
        """By user: nodes whose clients must confirm other messages first."""

    def replay(self, record: Record) -> None:
        """Learn what an earlier owner wrote; see ``Owner``."""
        match record:
            case Kept():
                self._stamp(record.delivery.sent_at_ms)
                self.mailboxes.put(record.delivery)
            case Drained():
                self.mailboxes.remove(record.user_id, record.message_ids)
            case _:
                super().replay(record)

    def checkpoint(self) -> Iterator[bytes]:
        """Yield the records that rebuild the present state; see ``Owner``."""
        yield from super().checkpoint()
        for entry in self.mailboxes:
            yield codec.encode(Kept(entry))

    # ---- to nodes --------------------------------------------------------------------------------

    def _open_nodes(self, user_id: str) -> set[str]:
        """Return the nodes that hold the user, and on which somebody can take a message.

        If all of them are quiet, none: they may be dead, and keep what they are given for long.
        """
        held_by = self.directory.nodes_of(user_id) & self._leases.alive.keys()
        nodes = held_by - self._full.get(user_id, set())
        return nodes if nodes - self._quiet else set()

    def _nodes_for(self, user_id: str, *, may_wait: bool = True) -> list[str]:
        """Return the nodes that hold the user, or may: those that have not reported yet.

        If no node is known to, what may wait is for none: whoever has the user will say so.
        """
        known = self._open_nodes(user_id)
        if may_wait and not known:
            return []
        return sorted(known | (self._leases.alive.keys() - self.directory.reported))

    def _give(self, delivery: DirectDelivery, *, accepted: bool = False) -> bool:
        """Hand a message to its nodes; return whether there is one."""
        addresses = {
            direct_queue(self._leases.alive[node]): node
            for node in delivery.nodes
            if node in self._leases.alive
        }
        body = codec.encode(delivery)
        for address in addresses:
            self._effects.deliveries[address].append(body)
        if addresses:
            self._gathered.append(Given(delivery, addresses, accepted))
            self._trace("locate", delivery, nodes=len(addresses))
        if not delivery.known:
            self._holds.given(delivery.target_user, list(addresses.values()))
        return bool(addresses)

    def settle(self, refused: frozenset[Address]) -> None:
        """Answer what was given to nodes, keep what was not, let go what was drained."""
        drained: dict[str, list[str]] = {}
        for given in self._given:
            delivery = given.delivery
            nodes = [node for address, node in given.addresses.items() if address not in refused]
            if delivery.queued and nodes:
                drained.setdefault(delivery.target_user, []).append(delivery.message_id)
            elif not nodes and not delivery.known:
                self._held_up.add(delivery.target_user)
                keep = self._keep if given.accepted or delivery.queued else self._store
                keep(delivery, self._now_ms)
            elif delivery.report_to:
                answer = Located(delivery.ask, delivery.message_id, nodes)
                self._effects.answers[delivery.report_to].append(codec.encode(answer))
        for user_id, message_ids in drained.items():
            self._write(Drained(user_id, message_ids))
        self._given.clear()

    # ---- in mailboxes ----------------------------------------------------------------------------

    def _store(self, delivery: DirectDelivery, now_ms: int) -> bool:
        """Keep a new message for a user who is not here; return whether there is room for it."""
        queued = self.mailboxes.has_room(delivery, now_ms=now_ms)
        if queued:
            self._write(Kept(delivery))
        self._trace("keep", delivery, queued=int(queued))
        self._answer_stored(delivery, queued=queued)
        return queued

    def _keep(self, delivery: DirectDelivery, now_ms: int, *, answer: bool = True) -> None:
        """Keep a message that was accepted, whatever the limits, unless it may not wait at all."""
        queued = not self.mailboxes.expired(delivery, now_ms)
        if queued:
            self._write(Kept(delivery))
        self._trace("keep", delivery, queued=int(queued))
        if answer:
            self._answer_stored(delivery, queued=queued)

    def _drain(self, user_id: str, nodes: list[str], connection_id: str, now_ms: int) -> None:
        """Hand over what waits for a user; it is kept until the broker has it."""
        if (full := self._full.get(user_id)) is not None:
            full.difference_update(nodes)
            if not full:
                del self._full[user_id]
        if user_id in self._holds:
            return
        for entry in self.mailboxes.drain(user_id, now_ms=now_ms):
            given = self._give(
                replace(
                    entry,
                    nodes=nodes,
                    connection_id=connection_id,
                    queued=True,
                    report_to="",
                )
            )
            if not given:
                self.mailboxes.stayed(user_id, entry.message_id)

    def _drain_everywhere(self, user_id: str, now_ms: int) -> None:
        if nodes := self._open_nodes(user_id):
            self._drain(user_id, sorted(nodes), "", now_ms)

    def _trace(self, step: str, delivery: DirectDelivery, **details: int) -> None:
        traced = Traced(step, delivery.message_id, delivery.trace, dict(details))
        self._effects.traced.append(traced)

    def _answer_stored(self, delivery: DirectDelivery, *, queued: bool) -> None:
        if delivery.report_to:
            answer = Stored(delivery.ask, delivery.message_id, queued)
            self._effects.answers[delivery.report_to].append(codec.encode(answer))


def direct_queue(sender: Sender) -> Address:
    """Return the address of a process's queue for direct messages."""
    return topology.queue_address(topology.direct(sender.node_id, sender.process))
