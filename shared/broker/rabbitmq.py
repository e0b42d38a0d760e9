"""RabbitMQ behind the port: the only file that speaks AMQP.

Two things shape it. A call that the broker refuses costs its channel, so what may be refused is
done on a throw-away channel. And the library rejects what is in flight with whatever ended the
connection, CancelledError included, so the border tells that from a cancellation of our own.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any, TypeVar, cast

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, ExchangeType
from aio_pika.exceptions import (
    CONNECTION_EXCEPTIONS,
    AMQPConnectionError,
    ChannelClosed,
    ConnectionClosed,
    DeliveryError,
    PublishError,
)
from aiormq.abc import AbstractChannel as AmqpChannel
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from shared.broker.ports import Address, Arrived, Queue, QueueKind, Receive, Start
from shared.broker.queue_arguments import queue_arguments
from shared.broker.reading import Reading
from shared.broker.tls import tls_explained
from shared.broker.unacknowledged import Unacknowledged
from shared.errors import BrokerUnavailable, Refused, ServiceError, Unroutable, translate

HEARTBEAT = 5
CONNECT_TIMEOUT = 5.0
DECLARE_TIMEOUT = 5.0
PUBLISH_TIMEOUT = 2.0
CLOSE_TIMEOUT = 2.0
BLOCKED_POLL = 0.25
MAX_CHANNELS = 1000
"""Of one connection. RabbitMQ allows 2,047 by default, throw-away ones included, and one more
would cost the connection."""

NO_ROUTE = 312

FAULTS: dict[type[BaseException], type[ServiceError]] = {
    DeliveryError: Refused,
    TimeoutError: BrokerUnavailable,
    **dict.fromkeys(CONNECTION_EXCEPTIONS, BrokerUnavailable),
}

Result = TypeVar("Result")


class RabbitMQBroker:
    """A RabbitMQ at an ``amqp://`` or ``amqps://`` URL."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connections: list[RabbitMQConnection] = []

    @property
    def is_connected(self) -> bool:
        """Whether any connection is open; see the port."""
        return bool(self._open())

    @property
    def is_blocked(self) -> bool:
        """Whether any of them is blocked; see the port."""
        return any(connection.is_blocked for connection in self._open())

    async def connect(self, name: str) -> "RabbitMQConnection":
        """Open a connection that never re-opens itself; see the port."""
        connecting = aio_pika.connect(
            self._url, heartbeat=HEARTBEAT, client_properties={"connection_name": name}
        )
        with _border(), tls_explained():
            connection = RabbitMQConnection(await _within(CONNECT_TIMEOUT, connecting))
        self._connections = [*self._open(), connection]
        return connection

    def _open(self) -> "list[RabbitMQConnection]":
        return [one for one in self._connections if one.is_open]


class RabbitMQConnection:
    """One connection; its exclusive queues go when it goes."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._gone = asyncio.Event()
        self._channels: set[RabbitMQChannel] = set()
        self._exchanges: set[str] = set()
        self._blocked = False
        self._watch = asyncio.create_task(self._watch_blocked())
        connection.close_callbacks.add(self.lose)

    @property
    def is_open(self) -> bool:
        """Whether anything can still come of it."""
        return not self._gone.is_set()

    @property
    def is_blocked(self) -> bool:
        """Whether the broker takes nothing from us now, for want of memory or disk."""
        return self._blocked

    @property
    def server_version(self) -> str:
        """What the broker says that its version is; empty if it does not say."""
        transport = self._connection.transport
        properties = {} if transport is None else transport.connection.server_properties
        return str(properties.get("version", ""))

    async def channel(self, prefetch: int = 8) -> "RabbitMQChannel":
        """Open a channel with publisher confirms; see the port."""
        if self._gone.is_set():
            raise BrokerUnavailable("The connection is gone")
        if len(self._channels) >= MAX_CHANNELS:
            raise BrokerUnavailable("The connection has too many channels")
        with _border():
            channel = await _within(DECLARE_TIMEOUT, self._open(prefetch))
        self._channels.add(channel)
        return channel

    async def close(self) -> None:
        """End it and all its channels. Never raises."""
        self.lose()
        # Not by ``Connection.close``: cancelled, that waits until the broker has closed, too.
        transport, self._connection.transport = self._connection.transport, None
        if transport is None:
            return
        closing = transport.connection.close(ConnectionClosed(0, "closed by us"))
        with suppress(Exception), _border():
            await _within(CLOSE_TIMEOUT, closing)

    async def lost(self) -> None:
        """Return when this connection is gone, for whatever reason."""
        await self._gone.wait()

    async def declare(self, queue: Queue) -> None:
        """Make a queue and what feeds it."""
        ours = queue.kind is QueueKind.EXCLUSIVE
        async with self._connection.channel(publisher_confirms=False) as channel:
            declared = await channel.declare_queue(
                queue.name,
                durable=not ours,
                exclusive=ours,
                auto_delete=queue.kind is QueueKind.SHARED,
                arguments=queue_arguments(queue),
            )
            for source in (*map(Address, queue.fed_by), *queue.bound_to):
                await self.know_exchange(source)
                await declared.bind(source.exchange, source.key)

    def forget(self, channel: "RabbitMQChannel") -> None:
        """Drop a channel that is gone."""
        self._channels.discard(channel)

    async def know_exchange(self, to: Address) -> None:
        """Make sure of an exchange: a publish to a missing one would cost its channel."""
        if to.exchange and to.exchange not in self._exchanges:
            kind = ExchangeType.DIRECT if to.key else ExchangeType.FANOUT
            async with self._connection.channel(publisher_confirms=False) as channel:
                await channel.declare_exchange(to.exchange, kind, durable=True)
            self._exchanges.add(to.exchange)

    async def _open(self, prefetch: int) -> "RabbitMQChannel":
        channel = await self._connection.channel(on_return_raises=True)
        await channel.set_qos(prefetch)
        return RabbitMQChannel(self, channel, await channel.get_underlay_channel(), prefetch)

    async def _watch_blocked(self) -> None:
        """Notice a blocked connection: the library only lets publishes hang."""
        transport = self._connection.transport
        while transport is not None:
            try:
                async with asyncio.timeout(0.001):
                    await transport.ready()
            except TimeoutError:
                self._blocked = True
                await transport.ready()
                self._blocked = False
            await asyncio.sleep(BLOCKED_POLL)

    def lose(self, *_: object) -> None:
        """Take note that this connection is gone."""
        self._gone.set()
        self._watch.cancel()
        for channel in list(self._channels):
            channel.lose()


class RabbitMQChannel:
    """One channel: what it publishes keeps its order; what it left unacknowledged goes back.

    Messages pass through the library's lower layer: its message objects double their cost.
    """

    def __init__(
        self,
        connection: RabbitMQConnection,
        channel: AbstractChannel,
        amqp: AmqpChannel,
        prefetch: int,
    ) -> None:
        self._connection = connection
        self._channel = channel
        self._amqp = amqp
        self._prefetch = prefetch
        self._readings: list[Reading] = []
        self._consumers: dict[str, str] = {}
        self._gone = asyncio.Event()
        self._message_ids = count(1)
        self._unacknowledged = Unacknowledged()
        self._one_by_one = asyncio.Lock()
        """Held while words for acknowledgements are said: each is true only after those before."""

        self._in_order = asyncio.Lock()
        self._closing: asyncio.Task[None] | None = None
        channel.close_callbacks.add(self.lose)
        amqp.on_consumer_cancel_callbacks.add(self._on_cancelled)

    async def declare(self, queue: Queue) -> None:
        """Make the queue unless it is there; see the port."""
        self._check()
        with _border():
            await _within(DECLARE_TIMEOUT, self._connection.declare(queue))

    async def publish(
        self,
        body: bytes,
        to: Address,
        *,
        persistent: bool = False,
        reply_to: str = "",
        correlation: str = "",
    ) -> None:
        """Return once the broker has taken responsibility for the message; see the port."""
        self._check()
        if self._connection.is_blocked:
            raise BrokerUnavailable("The broker is short of memory or disk")
        properties = Basic.Properties(
            delivery_mode=2 if persistent else 1,
            message_id=str(next(self._message_ids)),  # returned messages are known by it alone
            content_type="application/json" if correlation else None,
            reply_to=reply_to or None,
            correlation_id=correlation or None,
        )
        with self._border():
            async with asyncio.timeout(PUBLISH_TIMEOUT):
                async with self._in_order:  # nobody overtakes whoever waits for an exchange
                    await self._connection.know_exchange(to)
                await self._send(body, to, properties)

    async def consume(self, queue: str, receive: Receive) -> None:
        """Have messages handed to ``receive``; see the port."""
        self._consumers[queue] = await self._consume(queue, receive, {})

    async def cancel(self, queue: str) -> None:
        """Be handed nothing more of a queue; see the port."""
        self._check()
        with _border():
            await _within(DECLARE_TIMEOUT, self._amqp.basic_cancel(self._consumers.pop(queue)))

    async def read(self, log: str, start: Start, receive: Receive) -> None:
        """Have the records of a log handed to ``receive``; see the port."""
        reading = Reading(self._prefetch, receive)
        self._readings.append(reading)
        await self._consume(log, reading.add, {"x-stream-offset": start})

    async def take(self, queue: str) -> Arrived | None:
        """Return the first message of a queue that nobody consumes; see the port."""
        self._check()
        with _border():
            message = await _within(DECLARE_TIMEOUT, self._amqp.basic_get(queue))
        if isinstance(message.delivery, Basic.GetEmpty):
            return None
        return self._arrived(message)

    async def acknowledge(self, *arrived: Arrived) -> None:
        """Let the broker forget these messages, and only these; see the port."""
        self._check()
        tags = [one.tag for one in arrived]
        with self._border():
            async with asyncio.timeout(PUBLISH_TIMEOUT), self._one_by_one:
                for tag, all_before in self._unacknowledged.remove(tags):
                    await self._amqp.basic_ack(tag, multiple=all_before, wait=False)
        for reading in self._readings:
            for one in arrived:
                reading.acknowledge(one)

    async def close(self) -> None:
        """Give everything unacknowledged back, in order. Never raises."""
        self.lose()
        with suppress(Exception), _border():
            await _within(CLOSE_TIMEOUT, self._amqp.close(ChannelClosed(0, "closed by us")))

    async def lost(self) -> None:
        """Return when this channel is gone, for whatever reason."""
        await self._gone.wait()

    async def _consume(self, queue: str, receive: Receive, arguments: dict[str, Any]) -> str:
        """Begin to consume; return the consumer's tag."""
        self._check()

        async def hand_over(message: DeliveredMessage) -> None:
            if not self._gone.is_set():
                receive(self._arrived(message))

        with _border():
            consuming = self._amqp.basic_consume(queue, hand_over, arguments=arguments)
            return str((await _within(DECLARE_TIMEOUT, consuming)).consumer_tag)

    def _arrived(self, message: DeliveredMessage) -> Arrived:
        tag, again = message.delivery_tag or 0, bool(message.redelivered)
        self._unacknowledged.add(tag)
        properties = message.header.properties
        place = cast("int", (properties.headers or {}).get("x-stream-offset", 0))
        reply_to, correlation = properties.reply_to or "", properties.correlation_id or ""
        return Arrived(message.body, tag, again, place, reply_to, correlation)

    async def _send(self, body: bytes, to: Address, properties: Basic.Properties) -> None:
        try:
            await self._amqp.basic_publish(
                body,
                exchange=to.exchange,
                routing_key=to.key or to.queue,
                properties=properties,
                mandatory=True,
            )
        except PublishError as returned:
            if getattr(returned.frame, "reply_code", None) == NO_ROUTE:
                raise Unroutable from returned
            raise BrokerUnavailable from returned

    def lose(self, *_: object) -> None:
        """Take note that this channel is gone."""
        self._gone.set()
        self._connection.forget(self)
        for reading in self._readings:
            reading.end()

    def _on_cancelled(self, *_: object) -> None:
        """Lose the channel when its queue was taken away: a consumer that hears nothing is none."""
        self._closing = asyncio.create_task(self.close())

    @contextmanager
    def _border(self) -> Iterator[None]:
        """Take a failing connection for lost: half closed, it may never say so itself."""
        try:
            with _border():
                yield
        except BrokerUnavailable as error:
            if error.__cause__ is not None and _is_fatal(error.__cause__):
                self._connection.lose()
            raise

    def _check(self) -> None:
        if self._gone.is_set():
            raise BrokerUnavailable("The channel is gone")


def _is_fatal(error: BaseException) -> bool:
    """Whether nothing more can come of the connection on which this happened."""
    return isinstance(error, AMQPConnectionError) or type(error) is Exception


@contextmanager
def _border() -> Iterator[None]:
    """Let out none of the library's exceptions, and no cancellation that is not ours."""
    try:
        with translate(FAULTS):
            yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BrokerUnavailable from error
    except ServiceError:
        raise
    except Exception as error:  # with a bare one, too, the library rejects what is in flight
        raise BrokerUnavailable(f"The connection failed ({type(error).__name__})") from error


async def _within(seconds: float, work: Coroutine[Any, Any, Result]) -> Result:
    """Wait so long and no longer, even for work that does not heed its own cancellation."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            raise TimeoutError
        return task.result()
    finally:
        task.cancel()
