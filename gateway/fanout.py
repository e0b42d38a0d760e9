"""From one delivery to many sockets: one frame is built once and given to all."""

import time
from collections import Counter

from gateway.connection import Connection
from gateway.core.connections import Connections
from gateway.core.subscriptions import Subscriptions
from gateway.core.wire import topic_frame
from gateway.metrics import Metrics
from shared.clock import wall_clock_ms
from shared.messages.deliveries import TopicDelivery
from shared.recent import Recent

MAX_REMEMBERED = 10_000


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

    def given_at(self, message_id: str) -> float | None:
        """Return when a kept broadcast was written, as far as is remembered.

        It was written to the connections that wanted it before that moment.
        """
        return self._given_at.get(message_id)

    def to_topic(self, delivery: TopicDelivery, partition: int, asked_at: float = 0.0) -> int:
        """Write a broadcast to all who want it; return to how many it was written.

        If it comes again, for it was missed, then only to those who wanted it at ``asked_at``.

        A repeat, known by its number, is written to nobody and answered with the first count.
        """
        source = (delivery.process, partition)
        if delivery.known or delivery.number <= self._last_numbers.get(source, 0):
            return self._counts.get(delivery.message_id, 0)
        self._last_numbers.put(source, delivery.number)
        written = self._write(delivery, asked_at)
        if delivery.report_to:
            self._counts.put(delivery.message_id, written)
        return written

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

    def _write(self, delivery: TopicDelivery, asked_at: float) -> int:
        wanting = self._addressees(delivery)
        if not wanting:
            return 0
        if delivery.only_connection:
            wanting = {one for one in wanting if _takes_snapshot(one, delivery.only_connection)}
        elif delivery.replayed:
            wanting = {one for one in wanting if one.session.wanted(delivery.topic, asked_at)}
        if delivery.low:
            wanting = self._unless_they_lag(wanting, delivery)
        if delivery.offset:
            at = asked_at if delivery.replayed else time.monotonic()
            self._given_at.put(delivery.message_id, at)
        if (spared := self._connections.get(delivery.except_connection)) is not None:
            wanting.discard(spared)
        frame = topic_frame(delivery)
        written = sum(one.write_topic(delivery, frame) for one in wanting)
        given = len(wanting) * len(frame)
        self._metrics.topic_delivery(delivery.message_id, written, given, wall_clock_ms())
        return written

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
