"""PURE: DOUBLED and REORDERED."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.chaos.history import Key, Received, Recovery, Subscribed, Unsubscribed
from tests.chaos.reading import Command, Connection, Reading, covers
from tests.chaos.violations import Breach, Violation

DEATHS = frozenset({"kill gateway", "freeze gateway", "cut gateway", "silence gateway"})
"""Faults after which a gateway counts as dead, so that what it held may come late (R1). So does one
whose node of RabbitMQ is parted from the others."""


QUIET_SECONDS = 5.0
"""For so long after its death messages may still be put into a gateway's queue.

It may have been started again meanwhile, as another process.
"""


@dataclass
class Order:
    """What came twice or in the wrong order, and how often that was allowed."""

    violations: list[Violation] = field(default_factory=list)
    filtered: int = 0
    """Repeats that a client recognises by their ``message_id``."""

    excused: int = 0
    """Inversions after the death of a gateway."""

    def add(self, at: float, breach: Breach, what: str) -> None:
        """Note a violation."""
        self.violations.append(Violation(at, breach, what))


def judge(reading: Reading) -> Order:
    """Find all that is doubled or reordered."""
    order = Order()
    for client, connections in reading.of_client.items():
        firsts = _first_receipts(order, client, connections)
        _judge_fifo(reading, order, client, firsts)
        _judge_offsets(order, client, connections)
    _judge_names(reading, order)
    for command in reading.commands.values():
        _judge_answers(order, command)
    return order


def _arrivals(connections: list[Connection]) -> Iterator[tuple[Connection, Received]]:
    for connection in connections:
        for event in connection.talk:
            if isinstance(event, Received):
                yield connection, event


# ---- doubled -------------------------------------------------------------------------------------


def _first_receipts(order: Order, client: str, connections: list[Connection]) -> list[Received]:
    """Return what a client has received, each command once; note what came twice."""
    firsts: dict[object, Received] = {}
    for connection, event in _arrivals(connections):
        name = event.key or event.message_id
        first = firsts.setdefault(name, event)
        if first is event:
            continue
        if first.message_id != event.message_id:
            continue  # judged for all clients together
        if event.kind == "direct" or not _may_not_come_twice(connection, first, event):
            order.filtered += 1
        else:
            what = f"{client} got {event.kind} {name} twice, as {event.message_id}"
            order.add(event.at, Breach.DOUBLED, what)
    return list(firsts.values())


def _judge_names(reading: Reading, order: Order) -> None:
    """One command is one message, whatever was repeated, and under one ``idempotency_key`` (A7)."""
    names: dict[Key, str] = {}
    for connections in reading.of_client.values():
        for _, event in _arrivals(connections):
            if event.key and names.setdefault(event.key, event.message_id) != event.message_id:
                what = f"{event.key} came as {names[event.key]} and as {event.message_id}"
                order.add(event.at, Breach.DOUBLED, what)


def _may_not_come_twice(connection: Connection, first: Received, again: Received) -> bool:
    """Whether a broadcast that a client had before had no business on this connection.

    Who recovers by time must expect what it has seen; so must who does not recover at all, for
    another gateway may be slower than the one it was on.
    """
    if first.connection == again.connection:
        return True
    asked = [
        recovery
        for event in connection.talk
        if isinstance(event, Subscribed) and event.at <= again.at
        for recovery in event.recoveries
        if covers(recovery.pattern, again.topic)
    ]
    return bool(asked) and all(map(_continues, asked))


def _continues(recovery: Recovery) -> bool:
    """Whether the topic goes on exactly where the client was."""
    return recovery.recovered and recovery.offset is not None


def _judge_answers(order: Order, command: Command) -> None:
    for connection in command.connections:
        sends = sum(1 for one in command.sends if one.connection == connection)
        answers = [one for one in command.acks if one.connection == connection]
        errors = [one for one in command.failures if one.connection == connection]
        finals = len(answers) + sum(1 for one in errors if not one.queued)
        if finals > sends:
            at = max([one.at for one in answers] + [one.at for one in errors])
            what = f"{command.key} was sent {sends} times and answered {finals} times"
            order.add(at, Breach.DOUBLED, what)


# ---- reordered -----------------------------------------------------------------------------------


def _judge_fifo(reading: Reading, order: Order, client: str, firsts: list[Received]) -> None:
    """First in, first out per (sending connection, topic or target user) (R1).

    A command that was sent again may count from any of its sends: it is too late only if even
    its last one was before the first one of something that came earlier.
    """
    youngest: dict[tuple[str, str, str], Command] = {}
    for event in firsts:
        command = reading.commands.get(event.key) if event.key else None
        if command is None or len(command.connections) > 1:
            continue  # a phantom; or sent on two connections, between which nothing is promised
        sender = command.sends[0].connection
        lane = (command.kind, sender, command.to)
        before = youngest.setdefault(lane, command)
        if command.places[-1] >= before.places[0]:
            if command.places[0] > before.places[0]:
                youngest[lane] = command
        elif _was_held_by_a_dead_gateway(reading, command, event.at):
            order.excused += 1
        else:
            what = (
                f"{client} got {command.kind} {command.key} to {command.to} after {before.key},"
                f" both sent on {sender}"
            )
            order.add(event.at, Breach.REORDERED, what)


def _was_held_by_a_dead_gateway(reading: Reading, command: Command, received: float) -> bool:
    """Whether a gateway died between send and receipt that may have held this message.

    That is the sender's; and of a direct message the target's, too.
    """
    sent = command.sends[0].at
    holders = [reading.connections[command.sends[0].connection]]
    if command.kind == "direct":
        holders += reading.of_user[command.to]
    return any(
        (fault.name in DEATHS or fault.cut_off)
        and any(fault.strikes(one.node) for one in holders if _met(one, fault.begin))
        and sent <= max(fault.end, fault.begin + QUIET_SECONDS)
        for fault in reading.disturbed(sent - QUIET_SECONDS, received)
    )


def _met(connection: Connection, begin: float) -> bool:
    """Whether a connection was there when a fault began, or had just noticed it."""
    return connection.welcomed <= begin <= connection.closed + 1.0


@dataclass
class Place:
    """How far a client has come in the history of one topic."""

    epoch: str
    offset: int


def _judge_offsets(order: Order, client: str, connections: list[Connection]) -> None:
    """Offsets go up by one within an epoch, also over a recovery by offset (H2, H3)."""
    places: dict[str, Place] = {}
    for connection in connections:
        recovered: dict[str, Place] = {}
        for event in connection.talk:
            if isinstance(event, Subscribed):
                _forget(places, event.patterns)
                places |= (continued := _continued(event))
                recovered |= continued
            elif isinstance(event, Unsubscribed):
                _forget(places, event.patterns)
            elif isinstance(event, Received) and event.offset is not None:
                before = places.get(event.topic)
                reached = places[event.topic] = Place(event.epoch, event.offset)
                if before is not None and (step := _wrong_step(before, reached)):
                    lost = before.epoch != reached.epoch and event.topic in recovered
                    how = "after recovered: true" if event.topic in recovered else "while live"
                    breach = Breach.LOST if lost else Breach.REORDERED
                    order.add(event.at, breach, f"{client} on {event.topic}: {step} {how}")
        places.clear()


def _continued(event: Subscribed) -> dict[str, Place]:
    """Return the topics that go on where they were, and that no other recovery covers."""
    vague = [one.pattern for one in event.recoveries if not _continues(one)]
    return {
        one.pattern: Place(one.epoch, one.offset)
        for one in event.recoveries
        if one.recovered
        and one.offset is not None
        and not any(covers(pattern, one.pattern) for pattern in vague)
    }


def _wrong_step(before: Place, reached: Place) -> str | None:
    if before.epoch != reached.epoch:
        return f"epoch {reached.epoch} after {before.epoch}"
    if reached.offset != before.offset + 1:
        return f"offset {reached.offset} after {before.offset}"
    return None


def _forget(places: dict[str, Place], patterns: tuple[str, ...]) -> None:
    for topic in [one for one in places if any(covers(pattern, one) for pattern in patterns)]:
        del places[topic]
