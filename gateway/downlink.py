"""From the broker: deliveries to the sockets, answers to whoever waits for them."""

import time
from collections.abc import Callable
from functools import partial

import structlog

from gateway.answers import Answers
from gateway.core.gaps import Gaps
from gateway.directs import Directs
from gateway.fanout import Fanout
from gateway.flushing import Flushing
from gateway.handover import Parcel
from gateway.metrics import Metrics
from gateway.receipts import Receipts
from gateway.uplink import Uplink
from shared.broker import topology
from shared.broker.ports import Arrived
from shared.messages import codec
from shared.messages.answers import Receipt, Subscribers
from shared.messages.deliveries import (
    Dismissal,
    SettleAsked,
    SubscribersWanted,
    TopicDelivery,
)
from shared.trail import Step, Trail

log = structlog.get_logger()


class Downlink:
    """Performs what arrives in this node's queues. Nothing here waits."""

    def __init__(
        self,
        node_id: str,
        fanout: Fanout,
        flushing: Flushing,
        directs: Directs,
        answers: Answers,
        uplink: Uplink,
        receipts: Receipts,
        metrics: Metrics,
        trail: Trail,
    ) -> None:
        self._node_id = node_id
        self._fanout = fanout
        self._flushing = flushing
        self._directs = directs
        self._answers = answers
        self._uplink = uplink
        self._receipts = receipts
        self._metrics = metrics
        self._trail = trail
        self._gaps = Gaps()
        self.open_parcels = 0
        """Messages of the broker with direct messages that are not settled."""

    def begin(self) -> None:
        """Begin with a new inbox: ask for what the old one may have held."""
        for partition, ask in self._gaps.begin(now=time.monotonic()).items():
            self._uplink.ask_replay(partition, ask)

    def inbox(self, body: bytes) -> None:
        """Perform a batch of topic deliveries."""
        try:
            batch = codec.decode(body, codec.DELIVERY_BATCH)
            items = [codec.decode(bytes(item), codec.TOPIC_DELIVERY) for item in batch.items]
        except codec.Undecodable as error:
            log.warning("bad deliveries", action="ignore", error=str(error))
            return
        self._metrics.batch_received(topology.ROUTER, len(items))
        partition = batch.partition
        if not self._is_partition(partition):
            return
        if self._gaps.is_outdated(batch):
            log.warning("lower term", action="drop", partition=partition, term=batch.term)
            return
        arrival = self._gaps.take(batch, items, now=time.monotonic())
        for question in items:
            if isinstance(question, SubscribersWanted):
                self._count(question)
        if arrival.ask is not None:
            log.info("deliveries missing", action="ask", partition=partition)
            self._metrics.gaps.inc()
            self._uplink.ask_replay(partition, arrival.ask)
        self._metrics.lost.inc(arrival.lost)
        self._deliver(partition, arrival.deliver, arrival.asked_at)

    def _count(self, wanted: SubscribersWanted) -> None:
        answer = Subscribers(wanted.ask, self._node_id, self._fanout.subscribers(wanted.topic))
        self._receipts.report(wanted.report_to, answer)

    def _is_partition(self, partition: int) -> bool:
        if 0 <= partition < self._uplink.partitions:
            return True
        log.warning("no such partition", action="ignore", partition=partition)
        return False

    def go_on(self) -> None:
        """Deliver what has waited too long for what should come before it."""
        for partition, deliveries, asked_at in self._gaps.overdue(now=time.monotonic()):
            log.warning("no replay", action="go on", partition=partition)
            self._deliver(partition, deliveries, asked_at)

    def _deliver(self, partition: int, deliveries: list[TopicDelivery], asked_at: float) -> None:
        for delivery in deliveries:
            if (before := self._fanout.repeated(delivery, partition)) is not None:
                self._report(delivery, before)
                continue
            step = self._trail.begin("deliver", delivery.message_id, delivery.trace)
            written = partial(self._written, delivery, step)
            self._fanout.to_topic(delivery, partition, asked_at, written)
        if deliveries:
            self._flushing.due()

    def _written(self, delivery: TopicDelivery, step: Step, connections: int) -> None:
        step.end(written=connections)
        self._report(delivery, connections)

    def _report(self, delivery: TopicDelivery, connections: int) -> None:
        receipt = Receipt(delivery.ask, self._node_id, connections)
        self._receipts.report(delivery.report_to, receipt)

    def direct(self, body: bytes, acknowledge: Callable[[], None]) -> None:
        """Perform a batch of direct deliveries; ``acknowledge`` it when all are settled.

        Those of an earlier term are performed like all others: they are known by their ids.
        """
        try:
            batch = codec.decode(body, codec.DELIVERY_BATCH)
            deliveries = [codec.decode(bytes(one), codec.DIRECT_DELIVERY) for one in batch.items]
        except codec.Undecodable as error:
            log.warning("bad deliveries", action="ignore", error=str(error))
            deliveries = []
        self._metrics.batch_received(topology.PRESENCE, len(deliveries))
        if not deliveries:
            acknowledge()
            return
        self.open_parcels += 1
        parcel = Parcel(len(deliveries), lambda: self._close_parcel(acknowledge))
        for delivery in deliveries:
            if isinstance(delivery, SettleAsked):
                if self._is_partition(batch.partition):
                    self._directs.settle(delivery, batch.partition)
                parcel.settle()
            elif isinstance(delivery, Dismissal):
                self._directs.dismiss(delivery)
                parcel.settle()
            else:
                self._directs.take(delivery, parcel)

    def _close_parcel(self, acknowledge: Callable[[], None]) -> None:
        self.open_parcels -= 1
        acknowledge()

    def answer(self, arrived: Arrived) -> None:
        """Pass a worker's answer, or a batch of owners' answers, on to whoever waits for it."""
        if arrived.correlation:
            self._answers.take_of_worker(arrived.correlation, arrived.body)
            return
        try:
            answers = codec.decode(arrived.body, codec.ANSWERS)
        except codec.Undecodable as error:
            log.warning("bad answers", action="ignore", error=str(error))
            return
        for one in answers:
            self._answers.take(one)
