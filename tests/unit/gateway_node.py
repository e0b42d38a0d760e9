"""A gateway's insides without its sockets and its broker."""

import json
import time
from collections import Counter
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any
from unittest import mock

from msgspec import Raw
from prometheus_client import CollectorRegistry

from gateway import unconfirmed
from gateway.answers import Answers
from gateway.connection import Connection, Hooks
from gateway.core.connections import Connections
from gateway.core.session import Session, Subscription
from gateway.core.subscriptions import Subscriptions
from gateway.directs import Directs
from gateway.downlink import Downlink
from gateway.fanout import Fanout
from gateway.metrics import Metrics
from gateway.outbox import Written
from gateway.receipts import Receipts
from shared.broker.batching import Packer
from shared.errors import ServiceError, SlowConsumer
from shared.messages import codec
from shared.messages.answers import Answer
from shared.messages.deliveries import (
    DeliveryBatch,
    DirectDelivery,
    ReplayEnded,
    SettleAsked,
    TopicDelivery,
)
from shared.messages.envelopes import DirectMessageReturned, MailboxAsked, ReplayAsked, Settled
from shared.trail import Trail
from tests.unit.builders import identity


class Client:
    """A connection and what was written to its socket."""

    def __init__(
        self,
        connection_id: str,
        user_id: str,
        hooks: Hooks,
        *,
        welcomed: bool = True,
        confirms: bool = False,
        takes_compressed: bool = False,
    ) -> None:
        self.frames: list[bytes] = []
        self.writes = 0
        self.ended: list[ServiceError] = []
        self.slow = False
        """It reads slowly: what is written waits in the transport."""

        self.gone = False
        """Its socket is closed, though nobody has noticed yet."""

        self.overdue = False
        """It has read nothing for so long that the next frame is one too many."""

        session = Session(identity(user_id), connection_id, max_subscriptions=256)
        self.connection = Connection(
            session,
            self,  # type: ignore[arg-type]
            self.ended.append,
            hooks,
            confirms=confirms,
            takes_compressed=takes_compressed,
        )
        self.connection.welcomed = welcomed

    lags = False
    """Whether much of what it was written is still held back."""

    caught_up = True
    """Whether nearly nothing is."""

    def write(self, frame: bytes) -> Written:
        if self.overdue:
            raise SlowConsumer
        if self.gone:
            return Written.GONE
        self.frames += split(frame)
        self.writes += bool(frame)
        return Written.HELD if self.slow else Written.SENT

    def let_time_pass(self) -> None:
        """Have the time be up for all that it was written and has not confirmed."""
        with mock.patch.object(unconfirmed, "CONFIRM_SECONDS", 0.0):
            self.connection.unconfirmed._expire()

    @property
    def heard(self) -> list[Any]:
        """The JSON messages it was written, one to a frame."""
        return [json.loads(frame[frame.index(b"{") :]) for frame in self.frames]


def split(frames: bytes) -> list[bytes]:
    """Return the frames that are written in one, each for itself (RFC 6455 section 5.2)."""
    found = []
    while frames:
        size, start = frames[1], 2
        if size in {126, 127}:
            start = 4 if size == 126 else 10
            size = int.from_bytes(frames[2:start], "big")
        found.append(frames[: start + size])
        frames = frames[start + size :]
    return found


class FakeUplink:
    """Notes what is handed back and what is asked for."""

    partitions = 16

    def __init__(self) -> None:
        self.handed_back: list[DirectMessageReturned] = []
        self.asked_mailbox: list[MailboxAsked] = []
        self.told_settled: list[Settled] = []
        self.asked_replay: list[tuple[int, ReplayAsked]] = []
        self._unconfirmed: list[Future[None]] = []

    def returned(self, command: DirectMessageReturned) -> Any:
        self.handed_back.append(command)
        self._unconfirmed.append(Future())
        return SimpleNamespace(confirmed=self._unconfirmed[-1])

    def settled(self, partition: int, fact: Settled) -> None:
        self.told_settled.append(fact)

    def ask_mailbox(self, command: MailboxAsked) -> None:
        self.asked_mailbox.append(command)

    def ask_replay(self, partition: int, command: ReplayAsked) -> None:
        self.asked_replay.append((partition, command))

    def confirm(self) -> None:
        """Have the broker confirm the first of what was handed back."""
        self._unconfirmed.pop(0).set_result(None)


class GatewayNode:
    """The way down: from the broker's batches to the sockets, and the reports back."""

    def __init__(self, node_id: str = "n1") -> None:
        self.subscriptions: Subscriptions[Connection] = Subscriptions()
        self.connections: Connections[Connection] = Connections()
        self.uplink = FakeUplink()
        self.answers = Answers()
        self.packer = Packer(lambda count: None)
        receipts = Receipts(self.answers, self.packer)
        self.acknowledged: list[int] = []
        """The parcels of direct messages that the broker need not keep, by their sequence."""

        self.registry = CollectorRegistry()
        metrics = self.metrics = Metrics(self.registry)
        self.fanout = Fanout(self.subscriptions, self.connections, metrics)
        uplink: Any = self.uplink
        self.trail = Trail("gateway", node_id, time.time_ns)
        self.directs = Directs(node_id, self.connections, uplink, receipts, metrics, self.trail)
        self.downlink = Downlink(
            node_id,
            self.fanout,
            SimpleNamespace(due=self.fanout.flush),  # type: ignore[arg-type]
            self.directs,
            self.answers,
            uplink,
            receipts,
            metrics,
            self.trail,
        )
        self._sequences: Counter[tuple[str, int, int]] = Counter()

    def client(
        self,
        connection_id: str,
        user_id: str = "bob",
        *patterns: str,
        welcomed: bool = True,
        confirms: bool = False,
        takes_compressed: bool = False,
        since: float = 0.0,
    ) -> Client:
        """Have a client connect that is subscribed since a moment."""
        client = Client(
            connection_id,
            user_id,
            Hooks(self.directs.lapsed, self.metrics.sent_bytes.inc, self.fanout.catch_up),
            welcomed=welcomed,
            confirms=confirms,
            takes_compressed=takes_compressed,
        )
        self.connections.add(client.connection)
        self.subscriptions.add(client.connection, patterns)
        held = {pattern: Subscription(since=0, at=since) for pattern in patterns}
        client.connection.session.patterns.update(held)
        return client

    def welcome(self, client: Client) -> None:
        """Have the client's Welcome written."""
        client.connection.welcomed = True
        self.directs.released(client.connection)

    def leave(self, client: Client) -> None:
        """Have the client's connection end."""
        self.connections.remove(client.connection)
        self.directs.gone(client.connection)

    def deliver(
        self,
        *deliveries: TopicDelivery | ReplayEnded,
        term: int = 1,
        partition: int = 0,
        skipped: int = 0,
        serial: int = 0,
    ) -> None:
        """Have a batch of broadcasts arrive from an owner, after some that were lost."""
        sequence = self._next("topics", partition, term, 1 + skipped)
        items = [Raw(codec.encode(one)) for one in deliveries]
        self.downlink.inbox(codec.encode(DeliveryBatch(partition, term, sequence, serial, items)))

    def to_topic(self, delivery: TopicDelivery, partition: int = 0, asked_at: float = 0.0) -> int:
        """Have a broadcast given and written at once; return what is told of it."""
        if (before := self.fanout.repeated(delivery, partition)) is not None:
            return before
        told: list[int] = []
        self.fanout.to_topic(delivery, partition, asked_at, told.append)
        self.fanout.flush()
        [written] = told
        return written

    def direct(
        self, *deliveries: DirectDelivery | SettleAsked, term: int = 1, partition: int = 0
    ) -> int:
        """Have a parcel of direct messages arrive from an owner; return its sequence."""
        sequence = self._next("users", partition, term)
        items = [Raw(codec.encode(one)) for one in deliveries]
        body = codec.encode(DeliveryBatch(partition, term, sequence, 0, items))
        self.downlink.direct(body, lambda: self.acknowledged.append(sequence))
        return sequence

    def _next(self, kind: str, partition: int, term: int, steps: int = 1) -> int:
        self._sequences[kind, partition, term] += steps
        return self._sequences[kind, partition, term]

    @property
    def reports(self) -> list[Answer]:
        """The receipts that wait to be sent, whoever they are for."""
        waiting = self.packer._waiting.values()
        return codec.decode(codec.join([one for queue in waiting for one in queue]), codec.ANSWERS)
