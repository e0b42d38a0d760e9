"""One partition's commands and facts: numbers checked, messages kept in order; see mail.py."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from msgspec.structs import replace

from presence_service.administration import AdministeredOwner
from presence_service.core.directory import Location
from presence_service.core.holds import EVERYBODY
from presence_service.core.mailbox import Limits
from presence_service.core.returns import Returns
from presence_service.mail import direct_queue
from shared.broker.ports import Address
from shared.messages import codec
from shared.messages.deliveries import DirectDelivery, SettleAsked
from shared.messages.envelopes import (
    ConnectionClosed,
    ConnectionOpened,
    ConnectionsReport,
    DirectMessageReturned,
    DirectMessageUndelivered,
    DisconnectUser,
    EraseUser,
    MailboxAsked,
    PeopleAsked,
    PresenceAsked,
    PresenceSet,
    RouteDirectMessage,
    Sender,
    Settled,
)
from shared.messages.records import KeyUsed, Record
from shared.ownership.idempotency import scoped
from shared.ownership.leases import Leases

SWEEP_MS = 60_000


class PresenceOwner(AdministeredOwner):
    """Serves one partition of the users for one reign: people, and the messages to them."""

    def __init__(self, leases: Leases, limits: Limits, max_connections: int = 0) -> None:
        super().__init__(leases, limits, max_connections)
        self._returns = Returns()
        self._swept_ms = 0

    # ---- the log ---------------------------------------------------------------------------------

    def begin(self, log: str, now_ms: int, *, whole: bool) -> int | None:
        """Begin to serve; nothing older than the checkpoint is wanted here; see ``Owner``.

        Whoever reigned before may have given nodes what they have yet to hand back.
        """
        for sender in self.lives.values():
            self._ask_to_settle(EVERYBODY, sender)
        return None

    def replay_older(self, record: Record) -> None:
        """See ``begin``."""

    def filled(self, now_ms: int) -> None:
        """See ``begin``."""

    # ---- commands and facts ----------------------------------------------------------------------

    def perform(
        self, sender: Sender, answers: str, number: int, envelope: bytes, now_ms: int
    ) -> str:
        """Carry out one command or fact of a sender; see ``Owner``."""
        self._now_ms = now_ms
        command = codec.decode(envelope, codec.PRESENCE_COMMAND)
        repeat = self._is_repeat(sender, number)
        match command:
            case RouteDirectMessage():
                self._route(answers, command, now_ms)
            case PeopleAsked() | DisconnectUser() | EraseUser():
                self._administer(answers, command, now_ms)
            case _ if repeat:
                pass
            case ConnectionOpened() | ConnectionClosed() | ConnectionsReport():
                if self._leases.alive.get(sender.node_id) == sender:  # else that life is over
                    self._note(sender, command, now_ms)
            case PresenceAsked():
                self._asked(sender, command)
            case PresenceSet():
                self._show(command, now_ms)
            case _:
                self._look_again(sender, command, now_ms)
        return command.message_id if isinstance(command, RouteDirectMessage) else ""

    def _look_again(
        self,
        sender: Sender,
        command: DirectMessageReturned | DirectMessageUndelivered | Settled | MailboxAsked,
        now_ms: int,
    ) -> None:
        """Go on with messages that were on their way."""
        match command:
            case DirectMessageReturned():
                self._returned(sender, command, now_ms)
            case DirectMessageUndelivered():
                self._undelivered(command.delivery, now_ms)
            case Settled():
                self._settled(command.user_id, command.node_id, now_ms)
            case MailboxAsked():
                self._drain(command.user_id, [sender.node_id], command.connection_id, now_ms)

    # ---- messages --------------------------------------------------------------------------------

    def _route(self, answers: str, command: RouteDirectMessage, now_ms: int) -> None:
        used = self._used(command, now_ms)
        user_id = command.target_user
        known = used is not None and used.message_id != command.message_id
        delivery = DirectDelivery(
            message_id=used.message_id if used else command.message_id,
            target_user=user_id,
            from_user=command.from_user,
            payload=command.payload,
            metadata=command.metadata,
            sent_at_ms=self._stamp(now_ms),
            ask=command.ask or command.message_id,
            report_to=answers,
            nodes=self._nodes_for(user_id, may_wait=command.ttl != 0 and not known),
            ttl=command.ttl,
            known=known,
            form=command.form,
            trace=command.trace,
        )
        if known:
            if not self._give(delivery):
                self._answer_stored(delivery, queued=True)
            return
        waits = self._must_wait(delivery, now_ms) or not self._give(delivery)
        taken = self._store(delivery, now_ms) if waits else True
        if taken and used is None and command.idempotency_key:
            key = scoped(command.idempotency_key, user_id)
            self._write(KeyUsed(command.from_user, key, command.message_id, "", 0, now_ms))

    def _must_wait(self, delivery: DirectDelivery, now_ms: int) -> bool:
        """Whether something waits for its user, or may come back, that it may not overtake (R1).

        Where they may be is not enough: when a node reports them, what waits is handed over first.
        """
        user_id = delivery.target_user
        if self.mailboxes.expired(delivery, now_ms):  # it may not wait at all
            return False
        stuck = user_id in self._held_up or not self._open_nodes(user_id)
        waits = stuck and self.mailboxes.waits(user_id, now_ms=now_ms)
        return waits or user_id in self._holds

    def _is_held(self, delivery: DirectDelivery, now_ms: int) -> bool:
        """Whether it waits for what may come back. What may not wait at all does not."""
        held = delivery.target_user in self._holds
        return held and not self.mailboxes.expired(delivery, now_ms)

    def _used(self, command: RouteDirectMessage, now_ms: int) -> KeyUsed | None:
        """Return what was done under the command's key, if it has one (A7)."""
        if not command.idempotency_key:
            return None
        key = scoped(command.idempotency_key, command.target_user)
        return self.keys.find(command.from_user, key, now_ms)

    def _returned(self, sender: Sender, command: DirectMessageReturned, now_ms: int) -> None:
        """A node has handed a message back: nobody there has taken it."""
        delivery, node_id = command.delivery, sender.node_id
        user_id = delivery.target_user
        returned = self._returns.note(user_id, delivery.message_id, node_id)
        if command.unwritten:
            self._full.setdefault(user_id, set()).add(node_id)
        elif not command.unconfirmed and not command.behind:
            there = self.directory.connections_at(user_id, node_id)
            gone = [delivery.connection_id] if delivery.connection_id else there
            self.directory.closed(user_id, gone, now_ms=now_ms)
        if command.behind or not command.unconfirmed:
            self._hold(user_id, [node_id])
        if not self._is_held(delivery, now_ms):
            self._give_again(delivery, returned, now_ms)
            return
        others_may_have_it = set(delivery.nodes) & self._leases.alive.keys() - returned
        self._keep(delivery, now_ms, answer=not others_may_have_it)

    def _undelivered(self, delivery: DirectDelivery, now_ms: int) -> None:
        """The broker has moved a message on that no gateway took; of a repeat nobody need know."""
        if not delivery.known:
            self._give_again(delivery, frozenset(), now_ms)

    def _give_again(
        self, delivery: DirectDelivery, returned: AbstractSet[str], now_ms: int
    ) -> None:
        """Give a message to the nodes that may have its user, but for those that returned it."""
        user_id = delivery.target_user
        may_have_it = self._nodes_for(user_id, may_wait=delivery.ttl != 0)
        nodes = [one for one in may_have_it if one not in returned]
        again = replace(delivery, nodes=nodes, connection_id="")
        if self._is_held(again, now_ms) or not self._give(again, accepted=True):
            self._keep(again, now_ms)

    # ---- order -----------------------------------------------------------------------------------

    def _appeared(self, location: Location, now_ms: int) -> None:
        user_id, node_id = location.user_id, location.sender.node_id
        if len(self.directory.connections_at(user_id, node_id)) == 1:
            elsewhere = self._holds.given_to(user_id) - {node_id}
            still_there = elsewhere & self.directory.nodes_of(user_id)
            self._hold(user_id, elsewhere - still_there)
            self._hold(user_id, still_there, moved=True)
        self._drain(user_id, [node_id], location.connection_id, now_ms)

    def _reported(self, sender: Sender, command: ConnectionsReport, now_ms: int) -> None:
        super()._reported(sender, command, now_ms)
        for one in command.connections:  # by an earlier owner, maybe
            self._holds.given(one.user_id, [sender.node_id])

    def _closed(self, user_id: str, node_id: str) -> None:
        if node_id in self._holds.given_to(user_id) - self.directory.nodes_of(user_id):
            self._hold(user_id, [node_id])

    def _hold(self, user_id: str, node_ids: Iterable[str], *, moved: bool = False) -> None:
        """Let nothing overtake what nodes may yet hand back: ask them to say when they have."""
        for node_id in set(node_ids) - self._quiet:
            sender = self._leases.alive.get(node_id)
            if sender is not None and (moved or not self._holds.awaits(user_id, node_id)):
                self._ask_to_settle(user_id, sender, moved=moved)

    def _ask_to_settle(self, user_id: str, sender: Sender, *, moved: bool = False) -> None:
        self._holds.begin(user_id, sender.node_id)
        ask = SettleAsked(user_id, sender.node_id, moved)
        self._effects.deliveries[direct_queue(sender)].append(codec.encode(ask))

    def _settled(self, user_id: str, node_id: str, now_ms: int) -> None:
        if node_id not in self.directory.nodes_of(user_id):  # else it may wait for a client
            self._holds.left(user_id, node_id)
        if self._holds.settled(user_id, node_id):
            self._go_on([user_id], now_ms)

    def _go_on(self, user_ids: Iterable[str], now_ms: int) -> None:
        """Hand over what has gathered while nothing could be."""
        for freed in user_ids:
            for user_id in self.mailboxes.users if freed == EVERYBODY else [freed]:
                self._drain_everywhere(user_id, now_ms)

    def _wait_no_longer(self, node_ids: Iterable[str], now_ms: int) -> None:
        for node_id in node_ids:
            self._go_on(self._holds.wait_no_longer(node_id), now_ms)

    # ---- the reign -------------------------------------------------------------------------------

    def node_ended(self, sender: Sender, now_ms: int, *, clean: bool) -> None:
        """Forget the connections of a life that is over; see ``Owner``."""
        super().node_ended(sender, now_ms, clean=clean)
        node_id = sender.node_id
        heir = self._leases.alive.get(node_id)
        if heir is None or heir.process != sender.process:  # else its queue is still the same
            self._holds.ended(node_id)
            self._wait_no_longer([node_id], now_ms)
            for full in self._full.values():
                full.discard(node_id)

    def tick(self, now_ms: int) -> None:
        """Let those go whose grace is over, try again what was refused; see ``Owner``."""
        self._now_ms = now_ms
        super().tick(now_ms)
        self._listen(now_ms)
        held_up, self._held_up = self._held_up, set()
        self._go_on(held_up, now_ms)
        if now_ms - self._swept_ms >= SWEEP_MS:
            self._swept_ms = now_ms
            self.mailboxes.sweep(now_ms=now_ms)
            self.revocations.sweep(now_ms)

    def _listen(self, now_ms: int) -> None:
        """Wait for no node that is quiet; hand over what waits for users of one heard again."""
        before, self._quiet = self._quiet, set(self._leases.quiet)
        self._wait_no_longer(self._quiet - before, now_ms)
        if heard_again := before - self._quiet:
            for user_id in self.mailboxes.users:
                if self.directory.nodes_of(user_id) & heard_again:
                    self._drain_everywhere(user_id, now_ms)

    def settle(self, refused: frozenset[Address]) -> None:
        """Learn who did not take what was given; whoever takes nothing will not say so either."""
        super().settle(refused)
        if refused:
            alive = self._leases.alive
            deaf = [node for node in alive if direct_queue(alive[node]) in refused]
            self._wait_no_longer(deaf, self._now_ms)
