"""From one delivery to many sockets: one frame is built once and given to all.

What comes together leaves together: each socket is written once for all that was gathered for it.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from gateway.connection import Connection
from gateway.core.connections import Connections
from gateway.core.subscriptions import Subscriptions
from gateway.core.wire import topic_frame
from gateway.gathered import Bundle, Gathered
from gateway.metrics import Metrics
from shared.clock import wall_clock_ms
from shared.messages.deliveries import TopicDelivery
from shared.recent import Recent

MAX_REMEMBERED = 10_000
MAX_GATHERED_BYTES = 1_048_576


class Fanout:
    """Hands broadcasts to this node's connections, each once."""

    def __init__(
        self,
        subscriptions: Subscriptions[Connection],
        connections: Connections[Connection],
        metrics: Metrics,
    ) -> None:
        self._subscriptions = subscriptions
        self._connections = connections
        self._metrics = metrics
        self._last_numbers: Recent[tuple[str, int], int] = Recent(MAX_REMEMBERED)
        self._counts: Recent[str, int] = Recent(MAX_REMEMBERED)
        self._given_at: Recent[str, float] = Recent(MAX_REMEMBERED)
        self._gathered: list[Gathered] = []
        self._gathered_bytes = 0

    def given_at(self, message_id: str) -> float | None:
        """Return when a kept broadcast was given, as far as is remembered.

        It was given to the connections that wanted it before that moment.
        """
        return self._given_at.get(message_id)

    def to_topic(
        self,
        delivery: TopicDelivery,
        partition: int,
        asked_at: float = 0.0,
        told: Callable[[int], None] = lambda written: None,
    ) -> None:
        """Give a broadcast to all who want it; ``told`` to how many, once it is written.

        If it comes again, for it was missed, then only to those who wanted it at ``asked_at``. That
        it is no repeat is the caller's business.
        """
        self._last_numbers.put((delivery.process, partition), delivery.number)
        self._gather(delivery, asked_at, told)
        if self._gathered_bytes > MAX_GATHERED_BYTES:
            self.flush()

    def repeated(self, delivery: TopicDelivery, partition: int) -> int | None:
        """Return to how many a broadcast was written that has come before; None if it is new.

        A repeat is known by its number, and given to nobody.
        """
        if not delivery.known and delivery.number > self._last_numbers.get(
            (delivery.process, partition), 0
        ):
            return None
        self.flush()  # so that the first has been counted
        return self._counts.get(delivery.message_id, 0)

    def flush(self) -> None:
        """Write what was gathered, each socket once for all of it, and tell to how many."""
        gathered, self._gathered, self._gathered_bytes = self._gathered, [], 0
        for some, connections in _together(gathered):
            bundle = Bundle(some)
            frames = bundle.frames
            for connection in connections:
                if not connection.plain:
                    connection.give(bundle)
                elif not connection.put(frames):
                    for one in some:
                        one.lacking += 1
        now_ms = wall_clock_ms()
        for each in gathered:
            written = len(each.given) - each.lacking
            size = len(each.given) * len(each.frame) - each.saved
            self._metrics.topic_delivery(each.delivery.message_id, written, size, now_ms)
            if each.delivery.report_to:
                self._counts.put(each.delivery.message_id, written)
            each.told(written)

    def catch_up(self, connection: Connection) -> None:
        """Write what was gathered for a connection now, before something else is written to it."""
        if not self._gathered:
            return
        waiting = [one for one in self._gathered if connection in one.given]
        its = [one for one in waiting if connection not in one.early]
        for one in its:
            one.early.add(connection)
        if its:
            connection.give(Bundle(its))

    def subscribers(self, topic: str) -> dict[str, int]:
        """Count the connections that want a topic, by their users (P3)."""
        return dict(Counter(one.user_id for one in self._subscriptions.wanting(topic)))

    def _addressees(self, delivery: TopicDelivery) -> set[Connection]:
        """Return whom a broadcast is for: who wants its topic, or an audience (X5)."""
        audience = delivery.audience
        if audience is None:
            return self._subscriptions.wanting(delivery.topic)
        if not audience.topics and not audience.connections:
            return {one for one in self._connections if one.welcomed}
        wanting = {one for topic in audience.topics for one in self._subscriptions.wanting(topic)}
        named = (self._connections.get(one) for one in audience.connections)
        return wanting | {one for one in named if one is not None and one.welcomed}

    def _gather(
        self, delivery: TopicDelivery, asked_at: float, told: Callable[[int], None]
    ) -> None:
        wanting = self._wanting(delivery, asked_at)
        if wanting and delivery.offset:
            at = asked_at if delivery.replayed else time.monotonic()
            self._given_at.put(delivery.message_id, at)
        frame = topic_frame(delivery) if wanting else b""
        self._gathered.append(Gathered(delivery, frame, wanting, told))
        self._gathered_bytes += len(frame)

    def _wanting(self, delivery: TopicDelivery, asked_at: float) -> set[Connection]:
        wanting = self._addressees(delivery)
        if delivery.only_connection:
            wanting = {one for one in wanting if _takes_snapshot(one, delivery.only_connection)}
        elif delivery.replayed:
            wanting = {one for one in wanting if one.session.wanted(delivery.topic, asked_at)}
        if delivery.low:
            wanting = self._unless_they_lag(wanting, delivery)
        if (spared := self._connections.get(delivery.except_connection)) is not None:
            wanting.discard(spared)
        return wanting

    def _unless_they_lag(
        self, wanting: set[Connection], delivery: TopicDelivery
    ) -> set[Connection]:
        """Shed a broadcast of low priority for whoever reads too slowly already (X3)."""
        lagging = {one for one in wanting if one.lags}
        for one in lagging:
            one.spare(delivery.message_id)
        self._metrics.shed.inc(len(lagging))
        return wanting - lagging


def _takes_snapshot(connection: Connection, addressee: str) -> bool:
    """Whether this part of a presence snapshot is for this connection, within its limit."""
    if connection.id != addressee or not connection.snapshot_left:
        return False
    connection.snapshot_left -= 1
    return True


def _together(
    gathered: list[Gathered],
) -> Iterator[tuple[list[Gathered], Iterable[Connection]]]:
    """Return which broadcasts go in one write, and to whom; each connection comes up once."""
    given = gathered[0].given if gathered else set[Connection]()
    if all(one.given == given and not one.early for one in gathered):
        yield gathered, given
        return
    of: dict[Connection, list[Gathered]] = {}
    for one in gathered:
        for connection in one.given - one.early:
            of.setdefault(connection, []).append(one)
    for connection, its in of.items():
        yield its, (connection,)
