"""A gateway's insides without its sockets and its broker."""

import json
from collections import Counter
from typing import Any

from msgspec import Raw
from prometheus_client import CollectorRegistry

from gateway.answers import Answers
from gateway.connection import Connection
from gateway.core.connections import Connections
from gateway.core.session import Session
from gateway.core.subscriptions import Subscriptions
from gateway.downlink import Downlink
from gateway.fanout import Fanout
from gateway.metrics import Metrics
from gateway.outbox import Written
from shared.errors import ServiceError, SlowConsumer
from shared.messages import codec
from shared.messages.envelopes import Answer, DeliveryBatch, DirectMessageReturned
from tests.unit.builders import identity


class Client:
    """A connection and what was written to its socket."""

    def __init__(self, connection_id: str, user_id: str, *, welcomed: bool = True) -> None:
        self.frames: list[bytes] = []
        self.ended: list[ServiceError] = []
        self.slow = False
        """It reads slowly: what is written waits in the transport."""

        self.gone = False
        """Its socket is closed, though nobody has noticed yet."""

        self.overdue = False
        """It has read nothing for so long that the next frame is one too many."""

        session = Session(identity(user_id), connection_id, max_subscriptions=256)
        self.connection = Connection(session, self, self.ended.append)  # type: ignore[arg-type]
        self.connection.welcomed = welcomed

    def write(self, frame: bytes) -> Written:
        if self.overdue:
            raise SlowConsumer
        if self.gone:
            return Written.GONE
        self.frames.append(frame)
        return Written.HELD if self.slow else Written.SENT

    @property
    def heard(self) -> list[Any]:
        """The JSON messages it was written, one to a frame."""
        return [json.loads(frame[frame.index(b"{") :]) for frame in self.frames]


class FakeUplink:
    """Notes what is handed back."""

    def __init__(self) -> None:
        self.handed_back: list[DirectMessageReturned] = []

    def returned(self, command: DirectMessageReturned) -> None:
        self.handed_back.append(command)


class GatewayNode:
    """The way down: from the broker's batches to the sockets, and the reports back."""

    def __init__(self, node_id: str = "n1") -> None:
        self.subscriptions: Subscriptions[Connection] = Subscriptions()
        self.connections: Connections[Connection] = Connections()
        self.fanout = Fanout(self.subscriptions, self.connections)
        self.uplink = FakeUplink()
        metrics = Metrics(CollectorRegistry(), lambda: 0)
        self._sequences: Counter[tuple[int, int]] = Counter()
        self.downlink = Downlink(node_id, self.fanout, Answers(), self.uplink, metrics)  # type: ignore[arg-type]

    def client(
        self, connection_id: str, user_id: str = "bob", *patterns: str, welcomed: bool = True
    ) -> Client:
        client = Client(connection_id, user_id, welcomed=welcomed)
        self.connections.add(client.connection)
        self.subscriptions.add(client.connection, patterns)
        return client

    def deliver(self, *deliveries: object, term: int = 1, partition: int = 0) -> None:
        """Have a batch of one kind arrive from an owner."""
        items = [Raw(codec.encode(one)) for one in deliveries]
        self._sequences[partition, term] += 1
        sequence = self._sequences[partition, term]
        body = codec.encode(DeliveryBatch(partition, term, sequence, 0, items))
        self.downlink.inbox(body)
        self.downlink.direct(body)

    @property
    def reports(self) -> list[Answer]:
        """The receipts that wait to be sent, whoever they are for."""
        waiting = self.downlink.receipts._waiting.values()
        return codec.decode(codec.join([one for queue in waiting for one in queue]), codec.ANSWERS)
