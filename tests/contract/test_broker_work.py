"""What shared/broker/ports.py promises of commands and their answers, on every broker."""

import asyncio

import pytest

from shared.broker import rabbitmq, topology
from shared.broker.ports import Address, Queue, QueueKind
from shared.broker.queue_arguments import DELIVERY_LIMIT
from shared.broker.rabbitmq import RabbitMQBroker
from shared.errors import BrokerUnavailable, Refused, Unroutable
from tests.support.bench import Bench, Reader, numbers, send, settle, to

WORK, SHARED, EXCLUSIVE = QueueKind.WORK, QueueKind.SHARED, QueueKind.EXCLUSIVE


def under(broker: Bench, key: str) -> Address:
    return Address(exchange=broker.exchange("direct"), key=key)


async def test_a_direct_exchange_reaches_all_queues_bound_under_the_key_and_no_other(
    broker: Bench,
) -> None:
    keys = [("one",), ("one", "two"), ("two",)]
    readers = []
    for kind, bound in zip((WORK, SHARED, EXCLUSIVE), keys, strict=True):
        queue = broker.queue(kind, bound_to=tuple(under(broker, key) for key in bound))
        channel = await broker.channel()
        await channel.declare(queue)
        readers.append(await Reader().reads(channel, queue))
    publishing = await broker.channel()

    await publishing.publish(b"for one", under(broker, "one"))
    await publishing.publish(b"for two", under(broker, "two"))

    assert await readers[0].bodies(1) == [b"for one"]
    assert await readers[1].bodies(2) == [b"for one", b"for two"]
    assert await readers[2].bodies(1) == [b"for two"]
    await settle(broker)
    assert all(reader.arrived.empty() for reader in readers)


async def test_a_key_under_which_nothing_is_bound_is_unroutable(broker: Bench) -> None:
    channel = await broker.channel()
    with pytest.raises(Unroutable):
        await channel.publish(b"lost", under(broker, "one"))
    queue = broker.queue(WORK, bound_to=(under(broker, "one"),))
    await channel.declare(queue)
    with pytest.raises(Unroutable):
        await channel.publish(b"lost", under(broker, "two"))
    await channel.publish(b"kept", under(broker, "one"))
    assert await (await Reader().reads(channel, queue)).bodies(1) == [b"kept"]


async def test_a_message_carries_where_its_answer_goes_and_what_that_is_to_carry(
    broker: Bench,
) -> None:
    channel, queue = await broker.channel(), broker.queue(WORK)
    await channel.declare(queue)
    await channel.publish(b"ask", to(queue), reply_to="answers", correlation="ask-1")
    await channel.publish(b"answer", to(queue), correlation="ask-1")
    await channel.publish(b"plain", to(queue))

    arrived = await (await Reader().reads(channel, queue)).take(3)

    assert [(one.reply_to, one.correlation) for one in arrived] == [
        ("answers", "ask-1"),
        ("", "ask-1"),
        ("", ""),
    ]


@pytest.mark.parametrize("kind", [WORK, SHARED])
async def test_consumers_share_the_work_and_get_what_one_of_them_left_behind(
    broker: Bench, kind: QueueKind
) -> None:
    queue = broker.queue(kind)
    channels = [await broker.channel(prefetch=2) for _ in range(2)]
    await channels[0].declare(queue)
    one, two = [await Reader().reads(channel, queue) for channel in channels]
    await send(await broker.channel(), to(queue), numbers(4))
    for arrived in await two.take(2):
        await channels[1].acknowledge(arrived)
    left = [first.body for first in await one.take(2)]

    await channels[0].close()

    again = await two.take(2)
    assert [second.body for second in again] == left
    assert all(second.redelivered for second in again)


async def test_a_shared_queue_is_for_every_connection_and_goes_with_its_last_consumer(
    broker: Bench,
) -> None:
    queue = broker.queue(SHARED)
    first, second, publishing = [await broker.channel() for _ in range(3)]
    for channel in (first, second):
        await channel.declare(queue)
        await Reader().reads(channel, queue)
    await first.close()
    await publishing.publish(b"there", to(queue))

    await second.close()

    await settle(broker)
    with pytest.raises(Unroutable):
        await publishing.publish(b"gone", to(queue))


async def test_work_survives_every_connection(broker: Bench) -> None:
    queue = broker.queue(WORK, bound_to=(under(broker, "one"),))
    maker = await broker.connect()
    channel = await maker.channel()
    await channel.declare(queue)
    await channel.publish(b"kept", under(broker, "one"), persistent=True)
    await maker.close()

    later = await broker.channel()
    await later.publish(b"bound still", under(broker, "one"))
    reader = await Reader().reads(later, queue)
    assert await reader.bodies(2) == [b"kept", b"bound still"]


@pytest.mark.parametrize("kind", [WORK, SHARED])
async def test_a_full_queue_refuses_work(broker: Bench, kind: QueueKind) -> None:
    channel, queue = await broker.channel(), broker.queue(kind, max_length=2)
    await channel.declare(queue)
    await send(channel, to(queue), numbers(2))
    with pytest.raises(Refused):
        await channel.publish(b"too many", to(queue))


async def test_after_cancel_nothing_comes_and_what_has_come_can_be_acknowledged(
    broker: Bench,
) -> None:
    channel, queue, other = await broker.channel(), broker.queue(WORK), broker.queue(WORK)
    for one in (queue, other):
        await channel.declare(one)
    await send(channel, to(queue), numbers(2))
    reader, elsewhere = await Reader().reads(channel, queue), await Reader().reads(channel, other)
    mine, left = await reader.take(2)

    await channel.cancel(queue.name)
    await send(channel, to(queue), numbers(2, 3))
    await send(channel, to(other), [b"other"])

    assert await elsewhere.bodies(1) == [b"other"]
    await channel.acknowledge(mine)
    await settle(broker)
    assert reader.arrived.empty()
    heir = await Reader().reads(await broker.channel(), queue)
    assert await heir.bodies(1) == [b"2"]
    await channel.close()
    assert await heir.bodies(1) == [left.body]


async def test_work_that_has_come_back_too_often_is_put_aside(broker: Bench) -> None:
    queue, connection = broker.queue(WORK), await broker.connect()
    watching = await broker.channel()
    await watching.declare(topology.POISON)
    await watching.declare(queue)
    await watching.publish(b"%s breaks" % queue.name.encode(), to(queue), persistent=True)
    for attempt in range(DELIVERY_LIMIT + 1):
        channel = await connection.channel()
        [arrived] = await (await Reader().reads(channel, queue)).take(1)
        assert arrived.redelivered == (attempt > 0)
        await channel.close()
    aside = await Reader().reads(watching, topology.POISON)
    async with asyncio.timeout(60):
        while (arrived := (await aside.take(1))[0]).body != b"%s breaks" % queue.name.encode():
            pass
    await watching.acknowledge(arrived)
    assert await watching.take(queue.name) is None


@pytest.mark.rabbitmq
async def test_a_connection_to_rabbitmq_opens_so_many_channels_and_no_more(
    rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq, "MAX_CHANNELS", 3)
    connection = await RabbitMQBroker(rabbitmq_url).connect("channels")
    try:
        channels = [await connection.channel() for _ in range(3)]
        with pytest.raises(BrokerUnavailable, match="too many"):
            await connection.channel()
        await channels[0].close()
        await (await connection.channel()).declare(Queue("channels", EXCLUSIVE))
    finally:
        await connection.close()
