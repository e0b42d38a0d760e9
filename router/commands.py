"""One partition's commands: numbers checked, the table kept, broadcasts planned and answered."""

from dataclasses import dataclass, replace

from router.core.interest_table import InterestTable
from router.core.plan import Plan, inbox_of, plan
from shared.broker.ports import Address
from shared.messages import codec
from shared.messages.envelopes import (
    InterestGained,
    InterestLost,
    InterestReport,
    RouteBroadcast,
    Routed,
    Sender,
    TopicDelivery,
)
from shared.ownership.idempotency import IdempotencyKeys
from shared.ownership.leases import Leases
from shared.ownership.owner import PartitionOwner


@dataclass(frozen=True)
class Done:
    """A broadcast as it was carried out, so that a repeat can be answered the same."""

    message_id: str
    process: str
    number: int
    nodes: tuple[str, ...]
    complete: bool


@dataclass(frozen=True)
class Unanswered:
    """A broadcast whose deliveries are being published."""

    answers: str
    ask: str
    message_id: str
    plan: Plan


class RouterOwner(PartitionOwner[Unanswered]):
    """Serves one partition of the topics for one reign.

    In the ``first_reign`` of a partition whoever has an interest reports it here, before anything
    else.
    """

    def __init__(self, leases: Leases, first_reign: bool) -> None:
        super().__init__()
        self.leases = leases
        self.table = InterestTable()
        self._first_reign = first_reign
        self._keys: IdempotencyKeys[Done] = IdempotencyKeys()

    def perform(
        self, sender: Sender, answers: str, number: int, envelope: bytes, now_ms: int
    ) -> None:
        """Carry out one command or fact of a sender; see ``Owner``."""
        command = codec.decode(envelope, codec.ROUTER_COMMAND)
        repeat = self._is_repeat(sender, number)
        match command:
            case RouteBroadcast():
                self._broadcast(sender, answers, number, command, now_ms)
            case _ if repeat or self.leases.alive.get(sender.node_id) != sender:
                pass  # known already, or from a life that is over
            case InterestGained():
                self.table.gained(sender.node_id, command.patterns)
            case InterestLost():
                self.table.lost(sender.node_id, command.patterns)
            case InterestReport():
                self.table.report(
                    sender.node_id, command.patterns, first=command.first, last=command.last
                )

    def _broadcast(
        self, sender: Sender, answers: str, number: int, command: RouteBroadcast, now_ms: int
    ) -> None:
        self._stamp(now_ms)
        ask = command.message_id
        done = self._done_before(command, now_ms)
        if done is None:
            planned = plan(
                command, self.table, self.leases.alive, knows_everyone=self._knows_everyone
            )
            done = Done(command.message_id, sender.process, number, planned.nodes, planned.complete)
            if command.idempotency_key:
                key = command.idempotency_key
                self._keys.keep(command.from_user, key, done, now_ms)
        else:
            planned = self._again(done)
        delivery = codec.encode(self._delivery(command, done, ask, answers))
        for address in planned.addresses:
            self._effects.deliveries[address].append(delivery)
        if command.answer:
            self._gathered.append(Unanswered(answers, ask, done.message_id, planned))

    @property
    def _knows_everyone(self) -> bool:
        return self._first_reign or self.leases.knows_everyone

    def _done_before(self, command: RouteBroadcast, now_ms: int) -> Done | None:
        if not command.idempotency_key:
            return None
        return self._keys.find(command.from_user, command.idempotency_key, now_ms)

    def _again(self, done: Done) -> Plan:
        """Ask those that had it how many they wrote; they recognise the number."""
        alive = self.leases.alive
        nodes = tuple(node for node in done.nodes if node in alive)
        complete = done.complete and nodes == done.nodes
        return Plan(tuple(inbox_of(alive[node]) for node in nodes), nodes, complete)

    def _delivery(
        self, command: RouteBroadcast, done: Done, ask: str, answers: str
    ) -> TopicDelivery:
        return TopicDelivery(
            process=done.process,
            number=done.number,
            message_id=done.message_id,
            topic=command.topic,
            payload=command.payload,
            metadata=command.metadata,
            from_user=command.from_user,
            sent_at_ms=self._last_stamp_ms,
            presence=command.presence,
            ask=ask,
            report_to=answers if command.answer else "",
            except_connection=command.except_connection,
            only_connection=command.only_connection,
        )

    def node_ended(self, sender: Sender, now_ms: int, *, clean: bool) -> None:
        """Forget what a life wanted; see ``Owner``."""
        self.table.forget(sender.node_id)

    def tick(self, now_ms: int) -> None:
        """Nothing becomes due here; see ``Owner``."""

    def settle(self, refused: frozenset[Address]) -> None:
        """Tell the askers which nodes were given their broadcasts; see ``Owner``."""
        for one in self._given:
            kept = _without(one.plan, refused)
            answer = Routed(one.ask, one.message_id, list(kept.nodes), kept.complete)
            self._effects.answers[one.answers].append(codec.encode(answer))
        self._given.clear()


def _without(planned: Plan, refused: frozenset[Address]) -> Plan:
    """Take the nodes out that did not get it. Of ``everyone`` nobody can say who did."""
    if planned.to_everyone or not refused.intersection(planned.addresses):
        return planned
    pairs = zip(planned.addresses, planned.nodes, strict=True)
    nodes = tuple(node for address, node in pairs if address not in refused)
    return replace(planned, nodes=nodes, complete=False)
