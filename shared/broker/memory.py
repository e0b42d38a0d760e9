"""The broker's promises kept inside one process."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from itertools import count

from shared.broker.memory_queues import Consumer, MemoryLog, MemoryQueue, Message
from shared.broker.ports import Address, Arrived, Queue, QueueKind, Receive, Start
from shared.errors import BrokerUnavailable, Refused, Unroutable


class MemoryBroker:
    """A broker without a network; everything on it goes when it goes."""

    def __init__(self) -> None:
        self._queues: dict[str, MemoryQueue] = {}
        self._connections: list[MemoryConnection] = []

    @property
    def is_connected(self) -> bool:
        """Whether any connection is open; see the port."""
        return bool(self._connections)

    @property
    def is_blocked(self) -> bool:
        """Whether any of them is blocked; see the port."""
        return any(connection.is_blocked for connection in self._connections)

    async def connect(self, name: str) -> "MemoryConnection":
        """Open a connection; see the port."""
        connection = MemoryConnection(self, name)
        self._connections.append(connection)
        return connection

    def cut(self, name: str | None = None) -> None:
        """End the connections of this name, or all, as a failing network would."""
        for connection in list(self._connections):
            if name in {None, connection.name}:
                connection.end()

    def declare(self, spec: Queue, owner: "MemoryConnection") -> None:
        """Make the queue unless it is there."""
        if spec.name in self._queues:
            queue = self.find(spec.name, owner)
        else:
            make = MemoryLog if spec.kind is QueueKind.LOG else MemoryQueue
            exclusive = spec.kind is QueueKind.EXCLUSIVE
            queue = make(self, spec, owner if exclusive else None)
            self._queues[spec.name] = queue
        queue.use()

    def find(self, name: str, reader: "MemoryConnection") -> MemoryQueue:
        """Return a queue that this connection may use."""
        queue = self._queues.get(name)
        if queue is None:
            raise BrokerUnavailable("There is no such queue", queue=name)
        if queue.owner not in {None, reader}:
            raise BrokerUnavailable("The queue is another connection's", queue=name)
        return queue

    def route(self, body: bytes, to: Address, *, reply_to: str = "", correlation: str = "") -> None:
        """Put a message on every queue that it is for."""
        targets = self._targets(to)
        if not targets:
            raise Unroutable
        refusing = [queue for queue in targets if queue.is_full]
        for queue in targets:
            if queue not in refusing:
                queue.put(body, reply_to=reply_to, correlation=correlation)
        if refusing:
            raise Refused

    def remove(self, queue: MemoryQueue) -> None:
        """Drop a queue with all that is in it."""
        if self._queues.get(queue.spec.name) is queue:
            del self._queues[queue.spec.name]

    def forget(self, connection: "MemoryConnection") -> None:
        """Drop a connection that has ended, with the queues it owned."""
        self._connections.remove(connection)
        self._queues = {
            name: queue for name, queue in self._queues.items() if queue.owner is not connection
        }

    def _targets(self, to: Address) -> list[MemoryQueue]:
        if to.key:
            return [queue for queue in self._queues.values() if to in queue.spec.bound_to]
        if to.exchange:
            return [queue for queue in self._queues.values() if to.exchange in queue.spec.fed_by]
        queue = self._queues.get(to.queue)
        return [queue] if queue else []


class MemoryConnection:
    """One connection; its exclusive queues go when it goes."""

    def __init__(self, broker: MemoryBroker, name: str) -> None:
        self.broker = broker
        self.name = name
        self.channels: list[MemoryChannel] = []
        self._gone = asyncio.Event()

    @property
    def is_blocked(self) -> bool:
        """Memory takes everything; see the port."""
        return False

    async def channel(self, prefetch: int = 8) -> "MemoryChannel":
        """Open a channel; see the port."""
        if self._gone.is_set():
            raise BrokerUnavailable("The connection is gone")
        channel = MemoryChannel(self, prefetch)
        self.channels.append(channel)
        return channel

    async def close(self) -> None:
        """End it and all its channels. Never raises."""
        self.end()

    async def lost(self) -> None:
        """Return when this connection is gone, for whatever reason."""
        await self._gone.wait()

    def end(self) -> None:
        """Close without waiting."""
        if self._gone.is_set():
            return
        self._gone.set()
        for channel in list(self.channels):
            channel.end()
        self.broker.forget(self)


class MemoryChannel:
    """One channel: what it publishes keeps its order; what it left unacknowledged goes back."""

    def __init__(self, connection: MemoryConnection, prefetch: int) -> None:
        self.prefetch = prefetch
        self._connection = connection
        self._broker = connection.broker
        self._consumers: list[Consumer] = []
        self._held: dict[int, _Held] = {}
        self._tags = count(1)
        self._gone = asyncio.Event()

    @property
    def is_gone(self) -> bool:
        """Whether this channel can do nothing any more."""
        return self._gone.is_set()

    async def declare(self, queue: Queue) -> None:
        """Make the queue unless it is there; see the port."""
        self._check()
        self._broker.declare(queue, self._connection)

    async def publish(
        self,
        body: bytes,
        to: Address,
        *,
        persistent: bool = False,
        reply_to: str = "",
        correlation: str = "",
    ) -> None:
        """Put the message on its queues; see the port."""
        self._check()
        self._broker.route(body, to, reply_to=reply_to, correlation=correlation)
        await asyncio.sleep(0)  # a network would let the others run too

    async def consume(self, queue: str, receive: Receive) -> None:
        """Have messages handed to ``receive``; see the port."""
        found = self._find(queue)
        consumer = Consumer(self, found, receive)
        self._consumers.append(consumer)
        found.join(consumer)

    async def cancel(self, queue: str) -> None:
        """Be handed nothing more of a queue; see the port."""
        self._check()
        for consumer in [one for one in self._consumers if one.queue.spec.name == queue]:
            self._consumers.remove(consumer)
            consumer.queue.leave(consumer)

    async def read(self, log: str, start: Start, receive: Receive) -> None:
        """Have the records of a log handed to ``receive``; see the port."""
        found = self._find(log)
        if not isinstance(found, MemoryLog):
            self.end()
            raise BrokerUnavailable("This queue is no log", queue=log)
        reader = Consumer(self, found, receive)
        self._consumers.append(reader)
        found.read(reader, start)

    async def take(self, queue: str) -> Arrived | None:
        """Return the first message of a queue that nobody consumes; see the port."""
        found = self._find(queue)
        message = found.pop()
        return None if message is None else self._hold(_Held(found, message))

    async def acknowledge(self, *arrived: Arrived) -> None:
        """Forget these messages, and only these; see the port."""
        for one in arrived:
            self._acknowledge(one)

    def _acknowledge(self, arrived: Arrived) -> None:
        self._check()
        held = self._held.pop(arrived.tag, None)
        if held is None:
            self.end()  # what AMQP does about a tag that is not outstanding
            return
        if held.consumer is not None:
            held.consumer.holds -= 1
        held.queue.pump()

    async def close(self) -> None:
        """Give everything unacknowledged back, in order. Never raises."""
        self.end()

    async def lost(self) -> None:
        """Return when this channel is gone, for whatever reason."""
        await self._gone.wait()

    def end(self) -> None:
        """Close without waiting."""
        if self.is_gone:
            return
        self._gone.set()
        self._connection.channels.remove(self)
        for consumer in self._consumers:
            consumer.queue.leave(consumer)
        left: dict[MemoryQueue, list[Message]] = defaultdict(list)
        for held in self._held.values():
            left[held.queue].append(held.message)
        self._held.clear()
        for queue, messages in left.items():
            queue.put_back(messages)
        for queue in {*left, *(consumer.queue for consumer in self._consumers)}:
            queue.pump()

    def give(self, consumer: Consumer, message: Message) -> None:
        """Hand one message to a consumer of this channel, after the present step of the loop."""
        consumer.holds += 1
        arrived = self._hold(_Held(consumer.queue, message, consumer))
        asyncio.get_running_loop().call_soon(self._hand_over, consumer.receive, arrived)

    def _hold(self, held: "_Held") -> Arrived:
        tag, message = next(self._tags), held.message
        self._held[tag] = held
        place = message.place if isinstance(held.queue, MemoryLog) else 0
        again = message.returns > 0
        return Arrived(message.body, tag, again, place, message.reply_to, message.correlation)

    def _find(self, queue: str) -> MemoryQueue:
        self._check()
        try:
            return self._broker.find(queue, self._connection)
        except BrokerUnavailable:
            self.end()  # what AMQP does to a channel that asks for the impossible
            raise

    def _hand_over(self, receive: Receive, arrived: Arrived) -> None:
        if not self.is_gone:
            receive(arrived)

    def _check(self) -> None:
        if self.is_gone:
            raise BrokerUnavailable("The channel is gone")


@dataclass(slots=True)
class _Held:
    """A message that was handed out and is not acknowledged."""

    queue: MemoryQueue
    message: Message
    consumer: Consumer | None = None
