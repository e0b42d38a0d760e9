"""One partition's commands: numbers checked, messages delivered, kept, answered; see people.py."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from msgspec.structs import replace

from presence_service.core.directory import Location
from presence_service.core.mailbox import Limits, Mailboxes
from presence_service.core.returns import Returns
from presence_service.people import PeopleOwner
from shared.broker import topology
from shared.broker.ports import Address
from shared.messages import codec
from shared.messages.envelopes import (
    DirectDelivery,
    DirectMessageReturned,
    DirectMessageUndelivered,
    Located,
    MailboxAsked,
    PresenceAsked,
    PresenceSet,
    RouteDirectMessage,
    Sender,
    Stored,
)
from shared.messages.records import Drained, Kept, KeyUsed, Record
from shared.ownership.leases import Leases

SWEEP_MS = 60_000


@dataclass(frozen=True)
class Given:
    """A message that is being handed to nodes."""

    delivery: DirectDelivery
    addresses: dict[Address, str]
    """Address to node."""

    accepted: bool
    """Whether its sender was told already that it is taken care of."""


class PresenceOwner(PeopleOwner[Given]):
    """Serves one partition of the users for one reign: people, and the messages to them."""

    persistent = True

    def __init__(self, leases: Leases, limits: Limits) -> None:
        super().__init__(leases)
        self.mailboxes = Mailboxes(limits)
        self._swept_ms = 0
        self._now_ms = 0
        self._returns = Returns()
        self._held_up: set[str] = set()
        """Users who are here and for whom something waits nevertheless: a node refused it."""

        self._full: set[str] = set()
        """Users whose clients must confirm other messages first."""

    # ---- the log ---------------------------------------------------------------------------------

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

    def begin(self, log: str, now_ms: int, *, whole: bool) -> int | None:
        """Begin to serve; nothing older than the checkpoint is wanted here; see ``Owner``."""

    def replay_older(self, record: Record) -> None:
        """See ``begin``."""

    def filled(self, now_ms: int) -> None:
        """See ``begin``."""

    def checkpoint(self) -> Iterator[bytes]:
        """Yield the records that rebuild the present state; see ``Owner``."""
        yield from super().checkpoint()
        for entry in self.mailboxes:
            yield codec.encode(Kept(entry))

    # ---- commands and facts ----------------------------------------------------------------------

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
                self._returned(sender, command, now_ms)
            case DirectMessageUndelivered():
                self._give_again(command.delivery, frozenset(), now_ms)
            case MailboxAsked():
                self._drain(command.user_id, [sender.node_id], command.connection_id, now_ms)
            case PresenceAsked():
                self._asked(sender, command)
            case PresenceSet():
                self._show(command, now_ms)
            case _ if self._leases.alive.get(sender.node_id) == sender:
                self._note(sender, command, now_ms)
            case _:
                pass  # a fact of a life that is over

    # ---- messages --------------------------------------------------------------------------------

    def _route(self, answers: str, command: RouteDirectMessage, now_ms: int) -> None:
        used = self._used(command, now_ms)
        user_id = command.target_user
        delivery = DirectDelivery(
            message_id=used.message_id if used else command.message_id,
            target_user=user_id,
            from_user=command.from_user,
            payload=command.payload,
            metadata=command.metadata,
            sent_at_ms=self._stamp(now_ms),
            ask=command.message_id,
            report_to=answers,
            nodes=self._nodes_for(user_id),
            ttl=command.ttl,
            known=used is not None and used.message_id != command.message_id,
        )
        if delivery.known:
            if not self._give(delivery):
                self._answer_stored(delivery, queued=True)
        elif self._must_wait(user_id, now_ms) or not self._give(delivery):
            self._store(delivery, now_ms)

    def _must_wait(self, user_id: str, now_ms: int) -> bool:
        """Whether something waits for a user that may not be overtaken (R1).

        Where they may be is not enough: when a node reports them, what waits is handed over first.
        """
        is_here = bool(self.directory.nodes_of(user_id))
        stuck = user_id in self._full or user_id in self._held_up
        return (stuck or not is_here) and self.mailboxes.waits(user_id, now_ms=now_ms)

    def _used(self, command: RouteDirectMessage, now_ms: int) -> KeyUsed | None:
        """Return what was done under the command's key, if it has one: now or before (A7)."""
        user_id, key = command.from_user, command.idempotency_key
        if not key:
            return None
        if (used := self.keys.find(user_id, key, now_ms)) is None:
            used = KeyUsed(user_id, key, command.message_id, "", 0, now_ms)
            self._write(used)
        return used

    def _nodes_for(self, user_id: str, returned: AbstractSet[str] = frozenset()) -> list[str]:
        """Return the nodes that hold the user, or may: those that have not reported yet."""
        alive = self._leases.alive.keys()
        unsure = alive - self.directory.reported - returned
        return sorted((self.directory.nodes_of(user_id) & alive) | unsure)

    def _give(self, delivery: DirectDelivery, *, accepted: bool = False) -> bool:
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
            self._gathered.append(Given(delivery, addresses, accepted))
        return bool(addresses)

    def _returned(self, sender: Sender, command: DirectMessageReturned, now_ms: int) -> None:
        """A node has nobody for a message: give it to the others that may have; else keep it.

        Whoever returned it is only given it again if the user has come back there since.
        """
        delivery, node_id = command.delivery, sender.node_id
        if delivery.connection_id:
            gone = [delivery.connection_id]
        else:
            gone = self.directory.connections_at(delivery.target_user, node_id)
        still_there = command.unconfirmed or command.unwritten
        if not still_there:
            self.directory.closed(delivery.target_user, gone, now_ms=now_ms)
        returned = self._returns.note(delivery.message_id, node_id)
        not_to = returned if still_there else frozenset()
        given = self._give_again(delivery, returned, now_ms, not_to=not_to)
        if command.unwritten and not given:
            self._full.add(delivery.target_user)

    def _give_again(
        self,
        delivery: DirectDelivery,
        returned: AbstractSet[str],
        now_ms: int,
        *,
        not_to: AbstractSet[str] = frozenset(),
    ) -> bool:
        nodes = self._nodes_for(delivery.target_user, returned)
        again = replace(
            delivery, nodes=[node for node in nodes if node not in not_to], connection_id=""
        )
        if given := self._give(again, accepted=True):
            return given
        self._keep(again, now_ms)
        return False

    def _store(self, delivery: DirectDelivery, now_ms: int) -> None:
        """Keep a new message for a user who is not here, if there is room for it."""
        queued = self.mailboxes.has_room(delivery, now_ms=now_ms)
        if queued:
            self._write(Kept(delivery))
        self._answer_stored(delivery, queued=queued)

    def _keep(self, delivery: DirectDelivery, now_ms: int) -> None:
        """Keep a message that was accepted, whatever the limits, unless it may not wait at all."""
        queued = not self.mailboxes.expired(delivery, now_ms)
        if queued:
            self._write(Kept(delivery))
        self._answer_stored(delivery, queued=queued)

    def _drain(self, user_id: str, nodes: list[str], connection_id: str, now_ms: int) -> None:
        """Hand over what waits for a user; it is kept until the broker has it."""
        self._full.discard(user_id)
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

    def _appeared(self, location: Location, now_ms: int) -> None:
        node_id = location.sender.node_id
        self._drain(location.user_id, [node_id], location.connection_id, now_ms)

    def _answer_stored(self, delivery: DirectDelivery, *, queued: bool) -> None:
        if delivery.report_to:
            answer = Stored(delivery.ask, delivery.message_id, queued)
            self._effects.answers[delivery.report_to].append(codec.encode(answer))

    # ---- the reign -------------------------------------------------------------------------------

    def tick(self, now_ms: int) -> None:
        """Let those go whose grace is over, try again what was refused; see ``Owner``."""
        self._now_ms = now_ms
        super().tick(now_ms)
        held_up, self._held_up = self._held_up, set()
        for user_id in held_up:
            self._drain(user_id, self._nodes_for(user_id), "", now_ms)
        if now_ms - self._swept_ms >= SWEEP_MS:
            self._swept_ms = now_ms
            self.mailboxes.sweep(now_ms=now_ms)

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


def _inbox_of(sender: Sender) -> Address:
    return topology.queue_address(topology.direct(sender.node_id, sender.process))
