"""From the broker: deliveries to the sockets, answers to whoever waits for them."""

from typing import TypeVar

import msgspec
import structlog

from gateway.answers import Answers
from gateway.connection import Connection
from gateway.fanout import Fanout
from gateway.metrics import Metrics
from gateway.outbox import text_frame
from gateway.uplink import Uplink
from shared.broker import topology
from shared.broker.batching import Packer
from shared.messages import codec, frames
from shared.messages.envelopes import (
    DirectDelivery,
    DirectMessageReturned,
    DirectReceipt,
    Receipt,
)

Target = TypeVar("Target")

log = structlog.get_logger()


class Downlink:
    """Performs what arrives in this node's queues. Nothing here waits."""

    def __init__(
        self, node_id: str, fanout: Fanout, answers: Answers, uplink: Uplink, metrics: Metrics
    ) -> None:
        self.receipts = Packer(dropped=metrics.receipts_dropped.inc)
        self._node_id = node_id
        self._fanout = fanout
        self._answers = answers
        self._uplink = uplink
        self._metrics = metrics
        self._terms: dict[tuple[str, int], int] = {}

    def inbox(self, body: bytes) -> None:
        """Perform a batch of topic deliveries."""
        partition, deliveries = self._unpack(topology.ROUTER, body, codec.TOPIC_DELIVERY)
        for delivery in deliveries:
            written = self._fanout.to_topic(delivery, partition)
            self._metrics.topic_deliveries.inc(written)
            if delivery.report_to:
                receipt = Receipt(delivery.ask, self._node_id, written)
                self.receipts.add(delivery.report_to, codec.encode(receipt))

    def direct(self, body: bytes) -> None:
        """Perform a batch of direct deliveries."""
        _, deliveries = self._unpack(topology.PRESENCE, body, codec.DIRECT_DELIVERY)
        for delivery in deliveries:
            self._deliver(delivery)

    def forget_terms(self) -> None:
        """Begin anew: what a new boot's queues hold is of reigns that live."""
        self._terms.clear()

    def answer(self, body: bytes) -> None:
        """Pass a batch of answers on to whoever waits for them."""
        try:
            answers = codec.decode(body, codec.ANSWERS)
        except codec.Undecodable as error:
            log.warning("bad answers", action="ignore", error=str(error))
            return
        for one in answers:
            self._answers.take(one)

    def _unpack(
        self, service: str, body: bytes, decoder: "msgspec.msgpack.Decoder[Target]"
    ) -> tuple[int, list[Target]]:
        """Return the partition and what is to be delivered: nothing if the reign is an old one."""
        self._metrics.batches.labels(service).inc()
        try:
            batch = codec.decode(body, codec.DELIVERY_BATCH)
            items = [codec.decode(bytes(item), decoder) for item in batch.items]
        except codec.Undecodable as error:
            log.warning("bad deliveries", action="ignore", error=str(error))
            return 0, []
        source = (service, batch.partition)
        if batch.term < self._terms.get(source, 0):
            log.warning("lower term", action="drop", partition=batch.partition, term=batch.term)
            return batch.partition, []
        self._terms[source] = batch.term
        return batch.partition, items

    def _deliver(self, delivery: DirectDelivery) -> None:
        written = self._fanout.to_user(delivery)
        if written is not None:
            self._report(delivery, written)

    def _report(self, delivery: DirectDelivery, written: list[str]) -> None:
        """Tell who asked; with nobody to take it, hand the message back first."""
        self._metrics.direct_deliveries.inc(len(written))
        if not written:
            self._uplink.returned(DirectMessageReturned(delivery))
        if delivery.report_to:
            receipt = DirectReceipt(delivery.ask, self._node_id, written)
            self.receipts.add(delivery.report_to, codec.encode(receipt))

    def release(self, connection: Connection) -> None:
        """Write what was held back until the connection's Welcome."""
        held, connection.held = connection.held, []
        for delivery in held:
            frame = text_frame(frames.direct_delivery(delivery))
            if connection.write_direct(delivery.message_id, frame):
                self._report(delivery, [connection.id])
            else:
                self._give_up(delivery)

    def hand_back(self, connection: Connection) -> None:
        """Find another place for what was held for a connection that never came to its Welcome."""
        held, connection.held = connection.held, []
        for delivery in held:
            self._give_up(delivery)

    def _give_up(self, delivery: DirectDelivery) -> None:
        if delivery.connection_id:
            self._report(delivery, [])
        else:  # another connection of the user here may have it already, or take it now
            self._deliver(delivery)
