"""A broker under test, with what tests of a broker keep needing."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

from shared.broker.ports import (
    Address,
    Arrived,
    Broker,
    Channel,
    Connection,
    Queue,
    QueueKind,
    Start,
)

PATIENCE_SECONDS = 60.0
"""For what must happen and says when: only a test that fails waits so long."""


class Bench:
    """A broker, and what one test does with it."""

    def __init__(self, broker: Broker, cut: Callable[[], None]) -> None:
        self.broker = broker
        self.cut = cut
        self.prefix = f"test.{secrets.token_hex(4)}"
        self.queues: list[Queue] = []
        self.connections: list[Connection] = []

    async def connect(self) -> Connection:
        connection = await self.broker.connect(self.prefix)
        self.connections.append(connection)
        return connection

    async def channel(self, prefetch: int = 8) -> Channel:
        """Open a channel on a connection of its own."""
        return await (await self.connect()).channel(prefetch)

    def queue(self, kind: QueueKind, *, feed: str = "", **limits: Any) -> Queue:
        name = f"{self.prefix}.{len(self.queues)}"
        fed_by = (self.exchange(feed),) if feed else ()
        self.queues.append(Queue(name, kind, fed_by=fed_by, **limits))
        return self.queues[-1]

    def exchange(self, name: str) -> str:
        return f"{self.prefix}.{name}"


class Reader:
    """A consumer that keeps what it is handed."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[Arrived] = asyncio.Queue()

    async def reads(self, channel: Channel, queue: Queue) -> "Reader":
        await channel.consume(queue.name, self.arrived.put_nowait)
        return self

    async def follows(self, channel: Channel, log: Queue, start: Start = 0) -> "Reader":
        await channel.read(log.name, start, self.arrived.put_nowait)
        return self

    async def take(self, number: int) -> list[Arrived]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return [await self.arrived.get() for _ in range(number)]

    async def bodies(self, number: int) -> list[bytes]:
        return [one.body for one in await self.take(number)]


def to(queue: Queue) -> Address:
    return Address(queue=queue.name)


def numbers(*span: int) -> list[bytes]:
    return [b"%d" % number for number in range(*span)]


async def send(channel: Channel, address: Address, bodies: list[bytes]) -> None:
    for body in bodies:
        await channel.publish(body, address)


async def settle(broker: Bench) -> None:
    """Let whatever is on its way arrive: a message has gone there and back."""
    channel, echo = await broker.channel(), broker.queue(QueueKind.EXCLUSIVE)
    await channel.declare(echo)
    reader = await Reader().reads(channel, echo)
    await channel.publish(b"echo", to(echo))
    await reader.take(1)


async def soon(event: object) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await event  # type: ignore[misc]
