"""One partition's commands: numbers checked, people found, messages delivered, kept, answered."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from presence_service.core.directory import Diff, Directory, Location
from presence_service.core.mailbox import Limits, Mailboxes
from presence_service.core.returns import Returns
from presence_service.core.sightings import asked_for, sighting
from shared.broker import topology
from shared.broker.ports import Address
from shared.messages import codec
from shared.messages.envelopes import (
    ConnectionClosed,
    ConnectionOpened,
    ConnectionsReport,
    DirectDelivery,
    DirectMessageReturned,
    Located,
    PresenceAsked,
    PresenceSet,
    RouteDirectMessage,
    Sender,
    Stored,
)
from shared.ownership.idempotency import IdempotencyKeys
from shared.ownership.leases import Leases
from shared.ownership.owner import PartitionOwner

SWEEP_MS = 60_000
MAX_UNSETTLED = 10_000


@dataclass(frozen=True)
class Given:
    """A message that is being handed to nodes."""

    delivery: DirectDelivery
    addresses: dict[Address, str]
    """Address to node."""


class PresenceOwner(PartitionOwner[Given]):
    """Serves one partition of the users for one reign."""

    def __init__(self, leases: Leases, first_reign: bool, limits: Limits) -> None:
        super().__init__()
        self.directory = Directory()
        self.mailboxes = Mailboxes(limits)
        self._leases = leases
        self._first_reign = first_reign
        self._swept_ms = 0
        self._now_ms = 0
        self._returns = Returns()
        self._early: dict[str, PresenceSet] = {}
        self._asks: list[tuple[Sender, PresenceAsked]] = []
        """What came before the reports that it needs."""

        self._met: set[str] = set()
        """Nodes that have reported to this reign, or ended in it."""
        self._keys: IdempotencyKeys[str] = IdempotencyKeys()

    def perform(
        self, sender: Sender, answers: str, number: int, envelope: bytes, now_ms: int
    ) -> None:
        """Carry out one command or fact of a sender; see ``Owner``."""
        self._now_ms = now_ms
        command = codec.decode(envelope, codec.PRESENCE_COMMAND)
        repeat = self._is_repeat(sender, number)
        match command:
            case RouteDirectMessage():
                self._route(answers, command, now_ms)
            case _ if repeat:
                pass
            case DirectMessageReturned():
                self._returned(sender, command.delivery, now_ms)
            case PresenceAsked():
                self._asked(sender, command)
            case PresenceSet():
                self._show(command, now_ms)
            case _ if self._leases.alive.get(sender.node_id) == sender:
                self._note(sender, command, now_ms)
            case _:
                pass  # a fact of a life that is over

    def _note(
        self,
        sender: Sender,
        fact: ConnectionOpened | ConnectionClosed | ConnectionsReport,
        now_ms: int,
    ) -> None:
        match fact:
            case ConnectionOpened():
                diff = self.directory.opened(sender, fact.connection, now_ms=now_ms)
                self._changed(diff, now_ms)
            case ConnectionClosed():
                self.directory.closed(fact.user_id, [fact.connection_id], now_ms=now_ms)
            case ConnectionsReport():
                self._reported(sender, fact, now_ms)

    # ---- people ----------------------------------------------------------------------------------

    def _reported(self, sender: Sender, command: ConnectionsReport, now_ms: int) -> None:
        # Whom an earlier reign knew it has announced; to say it again would be no news.
        known_before = not self._first_reign and sender.node_id not in self._met
        diff = self.directory.report(
            sender, command.connections, first=command.first, last=command.last, now_ms=now_ms
        )
        if command.last:
            self._met.add(sender.node_id)
        if known_before:
            announced = {one.user_id for one in command.connections if one.welcomed}
            diff = Diff(diff.appeared, tuple(one for one in diff.joined if one not in announced))
        self._changed(diff, now_ms)
        if command.last:
            asks, self._asks = self._asks, []
            for asker, asked in asks:
                self._asked(asker, asked)

    def _changed(self, diff: Diff, now_ms: int) -> None:
        for user_id in diff.joined:
            self._announce(user_id)
        for location in diff.appeared:
            if (early := self._early.pop(location.user_id, None)) is not None:
                self._show(early, now_ms)
            self._drain(location, now_ms)

    def _announce(self, user_id: str) -> None:
        self._effects.announcements.append(sighting(self.directory.people[user_id]))

    def _left(self, diff: Diff, now_ms: int) -> None:
        for user_id in diff.left:
            gone = sighting(user_id=user_id, status="offline", last_seen_ms=now_ms)
            self._effects.announcements.append(gone)

    def _show(self, command: PresenceSet, now_ms: int) -> None:
        user_id, status, metadata = command.user_id, command.status, command.metadata
        if self.directory.shown(user_id, status, metadata, now_ms=now_ms):
            self._announce(user_id)
        elif self._unsure and len(self._early) < MAX_UNSETTLED:
            self._early[user_id] = command

    @property
    def _unsure(self) -> bool:
        """Whether a node that lives has not reported yet."""
        return bool(self._leases.alive.keys() - self.directory.reported)

    def _asked(self, sender: Sender, command: PresenceAsked) -> None:
        """Tell an asker who is online; again, when another node has reported, if one has not."""
        if self._unsure and len(self._asks) < MAX_UNSETTLED:
            self._asks.append((sender, command))
        for person in asked_for(command.patterns, self.directory):
            self._effects.announcements.append(
                sighting(person, node_id=sender.node_id, connection_id=command.connection_id)
            )

    # ---- messages --------------------------------------------------------------------------------

    def _route(self, answers: str, command: RouteDirectMessage, now_ms: int) -> None:
        message_id = command.message_id
        if command.idempotency_key:
            key = (command.from_user, command.idempotency_key)
            if (done := self._keys.find(*key, now_ms)) is None:
                self._keys.keep(*key, message_id, now_ms)
            message_id = done or message_id
        delivery = DirectDelivery(
            message_id=message_id,
            target_user=command.target_user,
            from_user=command.from_user,
            payload=command.payload,
            metadata=command.metadata,
            sent_at_ms=self._stamp(now_ms),
            ask=command.message_id,
            report_to=answers,
            nodes=sorted(self._may_have(command.target_user, frozenset())),
            ttl=command.ttl,
        )
        if not self._give(delivery):
            self._answer_stored(delivery, self.mailboxes.store(delivery, now_ms=now_ms))

    def _may_have(self, user_id: str, returned: AbstractSet[str]) -> set[str]:
        """Return the nodes that hold the user, or may: those that have not reported yet."""
        alive = self._leases.alive.keys()
        unsure = alive - self.directory.reported - returned
        return (self.directory.nodes_of(user_id) & alive) | unsure

    def _give(self, delivery: DirectDelivery) -> bool:
        """Hand a message to its nodes; return whether there is one."""
        addresses = {
            _inbox_of(self._leases.alive[node]): node
            for node in delivery.nodes
            if node in self._leases.alive
        }
        body = codec.encode(delivery)
        for address in addresses:
            self._effects.deliveries[address].append(body)
        if addresses:
            self._gathered.append(Given(delivery, addresses))
        return bool(addresses)

    def _returned(self, sender: Sender, delivery: DirectDelivery, now_ms: int) -> None:
        """A node has nobody for a message: wait for the others that were given it, else look again.

        Whoever returned it is only given it again if the user has come back there since.
        """
        user_id, node_id = delivery.target_user, sender.node_id
        if delivery.connection_id:
            gone = [delivery.connection_id]
        else:
            gone = self.directory.connections_at(user_id, node_id)
        self.directory.closed(user_id, gone, now_ms=now_ms)
        returned = self._returns.note(delivery.message_id, node_id)
        may_have = self._may_have(user_id, returned)
        if may_have & (set(delivery.nodes) - returned):
            return
        delivery.nodes = sorted(may_have)
        delivery.connection_id = ""
        returned -= may_have
        if not self._give(delivery):
            self._keep(delivery, now_ms)

    def _keep(self, delivery: DirectDelivery, now_ms: int) -> None:
        """Keep a message that was accepted, whatever the limits, unless it may not wait at all."""
        queued = not self.mailboxes.expired(delivery, now_ms)
        if queued:
            self.mailboxes.keep(delivery)
        self._answer_stored(delivery, queued)

    def _drain(self, location: Location, now_ms: int) -> None:
        for entry in self.mailboxes.drain(location.user_id, now_ms=now_ms):
            entry.nodes = [location.sender.node_id]
            entry.connection_id = location.connection_id
            entry.queued = True
            entry.report_to = ""
            if not self._give(entry):
                self._keep(entry, now_ms)

    def _answer_stored(self, delivery: DirectDelivery, queued: bool) -> None:
        if delivery.report_to:
            answer = Stored(delivery.ask, delivery.message_id, queued)
            self._effects.answers[delivery.report_to].append(codec.encode(answer))

    # ---- the reign -------------------------------------------------------------------------------

    def node_ended(self, sender: Sender, now_ms: int, *, clean: bool) -> None:
        """Forget who was on a node; see ``Owner``."""
        self._met.add(sender.node_id)
        self._left(self.directory.ended(sender, clean=clean, now_ms=now_ms), now_ms)

    def tick(self, now_ms: int) -> None:
        """Let those go whose grace is over; see ``Owner``."""
        self._now_ms = now_ms
        self._left(self.directory.due(now_ms=now_ms), now_ms)
        if now_ms - self._swept_ms > SWEEP_MS:
            self._swept_ms = now_ms
            self.mailboxes.sweep(now_ms=now_ms)

    def settle(self, refused: frozenset[Address]) -> None:
        """Tell the askers which nodes have their messages; keep what none took. See ``Owner``."""
        for given in self._given:
            delivery = given.delivery
            nodes = [node for address, node in given.addresses.items() if address not in refused]
            if not nodes and delivery.queued:
                self._keep(delivery, self._now_ms)
            elif not nodes:
                stored = self.mailboxes.store(delivery, now_ms=self._now_ms)
                self._answer_stored(delivery, stored)
            elif delivery.report_to:
                answer = Located(delivery.ask, delivery.message_id, nodes)
                self._effects.answers[delivery.report_to].append(codec.encode(answer))
        self._given.clear()


def _inbox_of(sender: Sender) -> Address:
    return topology.queue_address(topology.direct(sender.node_id, sender.boot))
