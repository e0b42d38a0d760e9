"""What shared/broker/ports.py promises of messages and queues that wait, on every broker.

What must not happen is looked for until something has happened that would have been later.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shared.broker import memory_queues
from shared.broker.memory import MemoryBroker
from shared.broker.ports import Channel, Queue, QueueKind
from shared.errors import BrokerUnavailable, Refused, Unroutable
from tests.support.bench import PATIENCE_SECONDS, Bench, Reader, numbers, send, settle, soon, to

KEPT = QueueKind.KEPT
TTL_MS = 600
LONG_MS = 600_000

Waiting = Callable[..., Awaitable[Queue]]


@pytest.fixture
async def channel(broker: Bench) -> Channel:
    return await broker.channel()


@pytest.fixture
async def dead(broker: Bench, channel: Channel) -> Queue:
    dead = broker.queue(KEPT)
    await channel.declare(dead)
    return dead


@pytest.fixture
async def waiting(broker: Bench, channel: Channel, dead: Queue) -> Waiting:
    """Makes queues from which messages move to ``dead``."""

    async def make(ttl_ms: int = TTL_MS, **limits: Any) -> Queue:
        queue = broker.queue(KEPT, ttl_ms=ttl_ms, dead_letters=dead.name, **limits)
        await channel.declare(queue)
        return queue

    return make


async def test_messages_that_wait_too_long_move_in_order_and_not_before_their_time(
    broker: Bench, channel: Channel, dead: Queue, waiting: Waiting
) -> None:
    reader, queue = await Reader().reads(await broker.channel(), dead), await waiting()
    loop = asyncio.get_running_loop()
    started = loop.time()
    await send(channel, to(queue), numbers(5))

    moved = await reader.take(1)

    assert loop.time() - started >= TTL_MS / 1000
    moved += await reader.take(4)
    assert [one.body for one in moved] == numbers(5)
    assert await channel.take(queue.name) is None


async def test_what_is_acknowledged_in_time_does_not_move(
    broker: Bench, channel: Channel, dead: Queue, waiting: Waiting
) -> None:
    reader, queue = await Reader().reads(await broker.channel(), dead), await waiting()
    consuming = await broker.channel(prefetch=2)
    consumer = await Reader().reads(consuming, queue)
    await send(channel, to(queue), numbers(3))

    for message in await consumer.take(2):
        await consuming.acknowledge(message)
    await consumer.take(1)
    await consuming.close()

    assert await reader.bodies(1) == [b"2"]


async def test_what_a_consumer_holds_does_not_move_until_it_comes_back_and_then_at_once(
    broker: Bench, channel: Channel, dead: Queue, waiting: Waiting
) -> None:
    reader, queue = await Reader().reads(await broker.channel(), dead), await waiting()
    longer, shorter = await waiting(2 * TTL_MS), await waiting(TTL_MS // 2)
    holding = await broker.channel()
    consumer = await Reader().reads(holding, queue)
    await send(channel, to(queue), [b"held", b"held too"])
    await consumer.take(2)
    await channel.publish(b"later than its time", to(longer))
    assert await reader.bodies(1) == [b"later than its time"]

    await holding.close()
    await channel.publish(b"later than at once", to(shorter))

    assert await reader.bodies(3) == [b"held", b"held too", b"later than at once"]


async def test_what_comes_back_in_time_has_its_time_from_the_publish_and_not_more(
    broker: Bench, channel: Channel, dead: Queue, waiting: Waiting
) -> None:
    reader, queue = await Reader().reads(await broker.channel(), dead), await waiting(2 * TTL_MS)
    half, more_than_half = await waiting(TTL_MS), await waiting(TTL_MS * 3 // 2)
    holding = await broker.channel()
    consumer = await Reader().reads(holding, queue)
    await channel.publish(b"held", to(queue))
    await consumer.take(1)
    await channel.publish(b"half its time is over", to(half))
    assert await reader.bodies(1) == [b"half its time is over"]

    await holding.close()
    await channel.publish(b"more than its time", to(more_than_half))

    assert await reader.bodies(2) == [b"held", b"more than its time"]


async def test_what_a_lost_connection_held_beyond_its_time_moves_soon(
    broker: Bench, channel: Channel, dead: Queue, waiting: Waiting
) -> None:
    queue, longer = await waiting(), await waiting(2 * TTL_MS)
    reader = await Reader().reads(await broker.channel(), dead)
    consumer = await Reader().reads(await broker.channel(prefetch=3), queue)
    await send(channel, to(queue), numbers(3))
    await consumer.take(3)
    await channel.publish(b"later than its time", to(longer))
    await reader.take(1)

    broker.cut()
    await soon(channel.lost())

    heirs = [await broker.channel(), await broker.channel()]
    too_late = await Reader().reads(heirs[0], queue)
    again = await (await Reader().reads(heirs[1], dead)).take(4)
    assert sorted(one.body for one in again) == [*numbers(3), b"later than its time"]
    assert [one.body for one in again if one.body in numbers(3)] == numbers(3)
    assert too_late.arrived.empty()


async def test_a_full_queue_whose_messages_move_refuses_until_they_have_moved(
    broker: Bench, channel: Channel, dead: Queue, waiting: Waiting
) -> None:
    reader = await Reader().reads(await broker.channel(), dead)
    queue = await waiting(max_length=2)
    await send(channel, to(queue), numbers(2))
    with pytest.raises(Refused):
        await channel.publish(b"too many", to(queue))

    assert await reader.bodies(2) == numbers(2)

    async with asyncio.timeout(PATIENCE_SECONDS):
        await publish_at_last(channel, b"2", queue)
    assert await reader.bodies(1) == [b"2"]


async def publish_at_last(channel: Channel, body: bytes, queue: Queue) -> None:
    """Publish as soon as there is room."""
    while True:
        try:
            await channel.publish(body, to(queue))
        except Refused:
            continue
        return


async def test_a_queue_that_nobody_consumes_expires_with_all_that_waits_in_it(
    broker: Bench, channel: Channel, dead: Queue, waiting: Waiting
) -> None:
    reader = await Reader().reads(await broker.channel(), dead)
    consumed, left, unused = [await waiting(LONG_MS, expires_ms=TTL_MS) for _ in range(3)]
    await Reader().reads(await broker.channel(), consumed)
    leaving = await broker.channel()
    consumer = await Reader().reads(leaving, left)
    await channel.publish(b"back", to(left))
    await consumer.take(1)
    await leaving.close()

    for queue in (left, unused):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await publish_until_it_is_gone(broker, queue)

    await channel.publish(b"still there", to(consumed))
    await channel.declare(left)
    assert await channel.take(left.name) is None
    await settle(broker)
    assert reader.arrived.empty()


async def publish_until_it_is_gone(broker: Bench, queue: Queue) -> None:
    channel = await broker.channel()
    while True:
        try:
            await channel.publish(b"waits", to(queue))
        except Unroutable:
            return
        except BrokerUnavailable:  # RabbitMQ 3.10 may drop who publishes while the queue goes
            channel = await broker.channel()
        await asyncio.sleep(0.05)  # nothing to await: a queue goes without a word


async def test_in_memory_what_the_dead_letters_do_not_take_waits_until_they_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """RabbitMQ promises it too, but tries again only after three minutes."""
    monkeypatch.setattr(memory_queues, "RETRY_SECONDS", 0.05)
    memory = MemoryBroker()
    broker = Bench(memory, memory.cut)
    channel = await broker.channel(prefetch=1)
    full, large = broker.queue(KEPT, max_length=2), broker.queue(KEPT)
    queue, other = [
        broker.queue(KEPT, ttl_ms=1, dead_letters=name) for name in (full.name, large.name)
    ]
    for one in (queue, other, large):
        await channel.declare(one)
    await send(channel, to(queue), numbers(5))
    await send(channel, to(other), [b"later"])
    await (await Reader().reads(channel, large)).take(1)

    await channel.declare(full)

    reader = await Reader().reads(channel, full)
    for body in numbers(5):
        (moved,) = await reader.take(1)
        assert moved.body == body
        await channel.acknowledge(moved)
