"""One partition's commands: numbers checked, the table kept, broadcasts planned and answered."""

from collections.abc import Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from router.core.history import History
from router.core.interest_table import InterestTable
from router.core.namespaces import Namespaces
from router.core.plan import Plan, addressed, inbox_of, interested, plan
from router.queries import Queries, Query, delivery_of
from shared.broker.ports import Address
from shared.messages import codec
from shared.messages.answers import Erased, Routed
from shared.messages.deliveries import SubscribersWanted, TopicDelivery
from shared.messages.envelopes import (
    EraseUser,
    HistoryAsked,
    InterestGained,
    InterestLost,
    InterestReport,
    RecoveryAsked,
    ReplayAsked,
    RouteBroadcast,
    Sender,
    SubscribersAsked,
)
from shared.messages.forms import Form
from shared.messages.records import (
    HistoryReached,
    KeyUsed,
    Published,
    Record,
    TopicReached,
    UserErased,
)
from shared.ownership.effects import Traced
from shared.ownership.idempotency import scoped
from shared.ownership.leases import Leases
from shared.ownership.owner import PartitionOwner
from shared.trail import Details

SWEEP_MS = 10_000


@dataclass(frozen=True)
class Unanswered:
    """A broadcast whose deliveries are being published."""

    answers: str
    ask: str
    message_id: str
    plan: Plan


class RouterOwner(PartitionOwner[Unanswered]):
    """Serves one partition of the topics for one reign."""

    def __init__(self, leases: Leases, namespaces: Namespaces) -> None:
        super().__init__()
        self.leases = leases
        self.table = InterestTable()
        self.queries = Queries(namespaces)
        self._namespaces = namespaces
        self._swept_ms = 0

    @property
    def serial(self) -> int:
        """Return how many broadcasts the partition has kept."""
        return self.history.serial

    @property
    def history(self) -> History:
        """The last messages of every topic."""
        return self.queries.history

    # ---- the log ---------------------------------------------------------------------------------

    def replay(self, record: Record) -> None:
        """Learn what an earlier owner wrote; see ``Owner``."""
        match record:
            case Published():
                self._stamp(record.sent_at_ms)
                self._counted(record.process, record.number)
                self.history.append(record, self._last_stamp_ms)
            case UserErased():
                super().replay(record)
                self.queries.erase(record)
            case HistoryReached():
                self._stamp(record.sent_at_ms)
                self.history.restore(record)
            case TopicReached():
                self.history.restore(record)
            case _:
                super().replay(record)

    def begin(self, log: str, now_ms: int, *, whole: bool) -> int | None:
        """Begin to serve; see ``Owner``."""
        return self.queries.begin(log, now_ms, whole=whole)

    def replay_older(self, record: Record) -> None:
        """Learn, while serving, what was written before the last checkpoint; see ``Owner``."""
        if isinstance(record, Published):
            self.queries.replay_older(record)

    def filled(self, now_ms: int) -> None:
        """Answer what had to wait for older messages; see ``Owner``."""
        for sender, answers, command in self.queries.filled():
            self._ask(sender, answers, command, now_ms)

    def checkpoint(self) -> Iterator[bytes]:
        """Yield the records that rebuild the present state; see ``Owner``."""
        for erased in self.queries.erased.values():  # first: who was erased may have come back
            yield codec.encode(erased)
        yield from super().checkpoint()
        for record in self.history.checkpoint():
            yield codec.encode(record)

    # ---- commands and facts ----------------------------------------------------------------------

    def perform(
        self, sender: Sender, answers: str, number: int, envelope: bytes, now_ms: int
    ) -> str:
        """Carry out one command or fact of a sender; see ``Owner``."""
        command = codec.decode(envelope, codec.ROUTER_COMMAND)
        repeat = self._is_repeat(sender, number)
        match command:
            case RouteBroadcast():
                self._broadcast(sender, answers, number, command, now_ms, repeat=repeat)
            case HistoryAsked() | RecoveryAsked() | ReplayAsked() | EraseUser():
                self._ask(sender, answers, command, now_ms)
            case SubscribersAsked():
                self._count(answers, command)
            case _ if repeat or self.leases.alive.get(sender.node_id) != sender:
                pass  # known already, or from a life that is over
            case InterestGained():
                self.table.gained(sender.node_id, command.patterns, self.serial)
                self._effects.marks.add(inbox_of(sender))
            case InterestLost():
                self.table.lost(sender.node_id, command.patterns)
            case InterestReport():
                self._met(sender)
                self.table.report(
                    sender.node_id, command.patterns, first=command.first, last=command.last
                )
                self._effects.marks.add(inbox_of(sender))
        return command.message_id if isinstance(command, RouteBroadcast) else ""

    def _ask(
        self,
        sender: Sender,
        answers: str,
        command: Query,
        now_ms: int,
    ) -> None:
        if not self.queries.ready:
            self.queries.hold(sender, answers, command)
        elif isinstance(command, EraseUser):
            self._erase(answers, command, now_ms)
        elif not isinstance(command, ReplayAsked):
            answer = self.queries.answer(command, now_ms)
            self._effects.answers[answers].append(codec.encode(answer))
        elif self.leases.alive.get(sender.node_id) == sender:
            again = self.queries.replay(command, self.table, sender.node_id, now_ms)
            self._effects.deliveries[inbox_of(sender)] += [codec.encode(one) for one in again]

    def _count(self, answers: str, command: SubscribersAsked) -> None:
        """Have the nodes say who is subscribed to a topic (P3)."""
        alive = self.leases.alive
        planned = addressed(interested(command.topic, self.table, alive), alive)
        packed = codec.encode(SubscribersWanted(command.topic, command.ask, answers))
        for address in planned.addresses:
            self._effects.deliveries[address].append(packed)
        self._gathered.append(Unanswered(answers, command.ask, command.ask, planned))

    def _erase(self, answers: str, command: EraseUser, now_ms: int) -> None:
        """Drop what a user has said; those who come after do likewise."""
        record = UserErased(command.user_id, self.serial, now_ms)
        messages = self.queries.erase(record)
        self._write(record)
        self._effects.answers[answers].append(codec.encode(Erased(command.ask, messages)))

    # ---- broadcasts ------------------------------------------------------------------------------

    def _broadcast(
        self,
        sender: Sender,
        answers: str,
        number: int,
        command: RouteBroadcast,
        now_ms: int,
        *,
        repeat: bool,
    ) -> None:
        """Deliver, or again what was delivered: receivers know it by its number."""
        used = self._used(command, now_ms)
        if used is not None:
            message_id, process, number = used.message_id, used.process, used.number
        else:
            message_id, process = command.message_id, sender.process
        kept_before = published = self.history.find(command.topic, message_id)
        if published is None:
            published = self._published(command, message_id, process, number, now_ms)
            if not repeat and used is None:
                published = self._keep(published, command)
        if command.idempotency_key and used is None:
            self._use_key(command, published, now_ms)
        serial = kept_before.serial if kept_before else 0
        planned = plan(command, self.table, self.leases.alive, serial)
        delivery = _addressed(delivery_of(published), command, answers)
        delivery.known = used is not None and used.message_id != command.message_id
        packed = codec.encode(delivery)
        for address in planned.addresses:
            self._effects.deliveries[address].append(packed)
        details: Details = {"nodes": len(planned.nodes), "offset": delivery.offset}
        self._effects.traced.append(Traced("route", message_id, command.trace, details))
        if command.answer:
            self._gathered.append(Unanswered(answers, command.message_id, message_id, planned))

    def _used(self, command: RouteBroadcast, now_ms: int) -> KeyUsed | None:
        if not command.idempotency_key:
            return None
        key = scoped(command.idempotency_key, command.topic)
        return self.keys.find(command.from_user, key, now_ms)

    def _published(
        self, command: RouteBroadcast, message_id: str, process: str, number: int, now_ms: int
    ) -> Published:
        return Published(
            serial=0,
            process=process,
            number=number,
            message_id=message_id,
            topic=command.topic,
            epoch="",
            offset=0,
            sent_at_ms=self._stamp(now_ms),
            payload=command.payload,
            metadata=command.metadata,
            from_user=command.from_user,
            except_connection=command.except_connection,
            form=command.form,
            ttl=command.ttl,
        )

    def _keep(self, published: Published, command: RouteBroadcast) -> Published:
        """Take the message into the history, if it is to be kept; return it with its place."""
        if (
            command.form is Form.PRESENCE
            or command.ttl == 0
            or not self._namespaces.keep(command.topic)
        ):
            return published
        place = self.history.next_place(command.topic)
        kept = replace(published, serial=place.serial, epoch=place.epoch, offset=place.offset)
        self._write(kept)
        return kept

    def _use_key(self, command: RouteBroadcast, done: Published, now_ms: int) -> None:
        """Write down what was done under the key (A7): after the message, for it says it is."""
        self._write(
            KeyUsed(
                command.from_user,
                scoped(command.idempotency_key, command.topic),
                done.message_id,
                done.process,
                done.number,
                now_ms,
            )
        )

    def node_ended(self, sender: Sender, now_ms: int, *, clean: bool) -> None:
        """Forget what a life wanted; see ``Owner``."""
        self._parted(sender)
        self.table.forget(sender.node_id)

    def tick(self, now_ms: int) -> None:
        """Let go what history may not hold any longer; see ``Owner``."""
        if now_ms - self._swept_ms >= SWEEP_MS:
            self._swept_ms = now_ms
            self.queries.sweep(now_ms)

    def settle(self, refused: frozenset[Address]) -> None:
        """Tell the askers which nodes were given their broadcasts; see ``Owner``."""
        for one in self._given:
            pairs = zip(one.plan.addresses, one.plan.nodes, strict=True)
            nodes = [node for address, node in pairs if address not in refused]
            complete = len(nodes) == len(one.plan.nodes)
            answer = Routed(one.ask, one.message_id, nodes, complete)
            self._effects.answers[one.answers].append(codec.encode(answer))
        self._given.clear()


def _addressed(delivery: TopicDelivery, command: RouteBroadcast, answers: str) -> TopicDelivery:
    delivery.low = command.low
    delivery.trace = command.trace
    delivery.audience = command.audience
    delivery.only_connection = command.only_connection
    if command.answer:
        delivery.ask, delivery.report_to = command.message_id, answers
    return delivery
