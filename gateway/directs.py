"""Direct messages to the sockets: each is served, or goes back to where its user is known."""

from gateway.connection import Connection
from gateway.core.connections import Connections
from gateway.core.wire import direct_frame
from gateway.handover import Handover, Parcel
from gateway.metrics import Metrics
from gateway.receipts import Receipts
from gateway.uplink import Uplink
from shared.clock import wall_clock_ms
from shared.errors import Disconnected, Revoked, ServiceError, TooManyConnections
from shared.messages.answers import DirectReceipt, Receipt
from shared.messages.deliveries import DirectDelivery, Dismissal, SettleAsked
from shared.messages.envelopes import DirectMessageReturned, MailboxAsked, Settled
from shared.messages.forms import Form
from shared.partitions import partition_of
from shared.recent import Recent
from shared.trail import Trail

MAX_RETURNING = 10_000


class Directs:
    """Hands direct messages to their users' connections (R2, R4). Nothing here waits."""

    def __init__(
        self,
        node_id: str,
        connections: Connections[Connection],
        uplink: Uplink,
        receipts: Receipts,
        metrics: Metrics,
        trail: Trail,
    ) -> None:
        self._node_id = node_id
        self._connections = connections
        self._uplink = uplink
        self._receipts = receipts
        self._metrics = metrics
        self._trail = trail
        self._returning: Recent[str, None] = Recent(MAX_RETURNING)
        """Users for whom something went back: what came behind it must not overtake it (R1)."""

    def settle(self, asked: SettleAsked, partition: int) -> None:
        """Say that what came before this is handed on; what comes now is in order again."""
        if asked.moved:
            for handover in self._unserved(asked.user_id):
                handover.behind = True
                self._give_back(handover)
        for user_id in [asked.user_id] if asked.user_id else list(self._returning):
            if partition_of(user_id, self._uplink.partitions) == partition:
                self._returning.pop(user_id, None)
        self._uplink.settled(partition, Settled(asked.user_id, asked.node_id))

    def dismiss(self, dismissal: Dismissal) -> None:
        """End connections of a user, and say how many."""
        revoked_ms = dismissal.revoked_ms
        error: type[ServiceError] = Revoked if revoked_ms else Disconnected
        if dismissal.crowded:
            error = TooManyConnections
        only = dismissal.connection_id
        ended = [
            one
            for one in self._connections.of_user(dismissal.user_id)
            if (not only or one.id == only)
            and (not revoked_ms or one.opened.issued_at_ms <= revoked_ms)
        ]
        for connection in ended:
            connection.end(error())
        self._receipts.report(
            dismissal.report_to, Receipt(dismissal.ask, self._node_id, len(ended))
        )

    def take(self, delivery: DirectDelivery, parcel: Parcel) -> None:
        """Take a message from the broker."""
        if delivery.known:
            self._report_again(delivery)
            parcel.settle()
        else:
            step = self._trail.begin("deliver", delivery.message_id, delivery.trace)
            self._offer(Handover(delivery, parcel, step))

    def _report_again(self, delivery: DirectDelivery) -> None:
        """Say who has a message that is not to be written another time (A7)."""
        message_id = delivery.message_id
        same_user = self._connections.of_user(delivery.target_user)
        written = [one for one in same_user if one.was_written(message_id)]
        had = [
            one.id
            for one in written
            if not _must_confirm(one, delivery) or one.unconfirmed.has_confirmed(message_id)
        ]
        self._report(delivery, had, pending=bool(written) and not had)

    def _unserved(self, user_id: str) -> list[Handover]:
        """Return in order what waits for the user's clients; nothing is held for them any more."""
        waiting: dict[str, Handover] = {}
        for connection in self._connections.of_user(user_id):
            for handover in (*connection.unserved(), *connection.held):
                waiting[handover.delivery.message_id] = handover
            connection.held = [one for one in connection.held if one.settled]
        return [waiting[message_id] for message_id in sorted(waiting)]

    def released(self, connection: Connection) -> None:
        """The connection's Welcome is written: give it what was held for it (S7).

        And before that what the user's other connections have not confirmed: if they are gone
        without having said so, it would come behind.
        """
        held, connection.held = connection.held, []
        others = [
            handover
            for other in self._connections.of_user(connection.user_id)
            for handover in other.unserved()
            if handover not in held and not handover.settled
        ]
        for handover in others:
            handover.delivery.connection_id = ""
        for handover in held:
            handover.waiting.discard(connection.id)
        due = {one.delivery.message_id: one for one in (*others, *held)}
        for message_id in sorted(due):
            self._offer_to(due[message_id], [connection])

    def gone(self, connection: Connection) -> None:
        """The connection is gone: find another place for what it has not taken."""
        held, connection.held = connection.held, []
        for handover in (*held, *connection.give_up()):
            handover.waiting.discard(connection.id)
            if handover.settled or handover.waiting:
                continue
            if handover.delivery.connection_id:
                self._give_back(handover)
            else:  # another connection of the user may have come here since
                self._offer(handover)

    def confirmed(self, connection: Connection, message_ids: list[str]) -> None:
        """The client has these messages."""
        connection.confirms = connection.confirms or any(map(connection.was_written, message_ids))
        for handover in connection.unconfirmed.confirm(message_ids):
            self._served(handover, [connection.id])
        if connection.has_lapsed:
            connection.has_lapsed = False
            self._uplink.ask_mailbox(MailboxAsked(connection.user_id, connection.id))

    def lapsed(self, connection: Connection, handover: Handover) -> None:
        """The client has not confirmed the message in time."""
        connection.has_lapsed = True
        handover.waiting.discard(connection.id)
        handover.unconfirmed = True
        if handover.waiting:
            return
        handover.delivery.connection_id, handover.unwritten = "", False
        message_id = handover.delivery.message_id
        same_user = self._connections.of_user(connection.user_id)
        others = [one for one in same_user if not one.was_written(message_id)]
        self._offer_to(handover, others)

    def _offer(self, handover: Handover) -> None:
        delivery = handover.delivery
        if delivery.connection_id:
            one = self._connections.get(delivery.connection_id)
            self._offer_to(handover, [one] if one is not None else [])
        else:
            self._offer_to(handover, self._connections.of_user(delivery.target_user))

    def _offer_to(self, handover: Handover, connections: list[Connection]) -> None:
        if handover.delivery.target_user in self._returning and handover.delivery.ttl != 0:
            handover.behind, connections = True, []
        frame = direct_frame(handover.delivery) if connections else b""
        had_reached = handover.reached
        taken = [one.id for one in connections if _takes(one, handover, frame)]
        if handover.reached and not had_reached:
            self._metrics.direct_delivery(handover.delivery, wall_clock_ms())
        if taken:
            self._served(handover, taken)
        elif not handover.waiting:
            self._give_back(handover)
        elif handover.delivery.report_to and any(
            one.welcomed and one.id in handover.waiting for one in connections
        ):
            self._report(handover.delivery, [], pending=True)

    def _served(self, handover: Handover, taken: list[str]) -> None:
        self._metrics.direct_deliveries(len(taken))
        handover.step.end(written=len(taken))
        self._report(handover.delivery, taken)
        if handover.settle():
            handover.parcel.settle()

    def _give_back(self, handover: Handover) -> None:
        """Hand the message back; the broker keeps it here until it has it there."""
        if not handover.settle():
            return
        handover.step.end(written=0)
        if not handover.unconfirmed:
            self._returning.put(handover.delivery.target_user, None)
        back = DirectMessageReturned(
            handover.delivery, handover.unconfirmed, handover.unwritten, handover.behind
        )
        confirmed = self._uplink.returned(back).confirmed
        confirmed.add_done_callback(lambda _: handover.parcel.settle())
        self._report(handover.delivery, [])

    def _report(
        self, delivery: DirectDelivery, delivered_to: list[str], *, pending: bool = False
    ) -> None:
        receipt = DirectReceipt(delivery.ask, self._node_id, delivered_to, pending)
        self._receipts.report(delivery.report_to, receipt)


def _must_confirm(connection: Connection, delivery: DirectDelivery) -> bool:
    """Whether only the client's word counts (R2)."""
    return connection.confirms and delivery.form is not Form.NOTIFICATION


def _takes(connection: Connection, handover: Handover, frame: bytes) -> bool:
    """Offer a message to a connection; return whether that has served it already."""
    message_id = handover.delivery.message_id
    if not connection.welcomed:
        connection.held.append(handover)
        handover.waiting.add(connection.id)
        return False
    if connection.ended:
        return False
    if not _must_confirm(connection, handover.delivery):
        taken = connection.write_direct(message_id, frame)
        handover.reached = handover.reached or taken
        return taken
    if connection.unconfirmed.has_confirmed(message_id):
        return True
    if connection.unconfirmed.full:
        connection.has_lapsed = handover.unwritten = True
        return False
    handover.waiting.add(connection.id)
    if connection.unconfirmed.add(handover):
        handover.reached = connection.write(frame) or handover.reached
    return False
