"""What shared/broker/ports.py promises of queues and messages, on every broker."""

import asyncio

import pytest

from shared.broker.ports import Address, QueueKind
from shared.errors import BrokerUnavailable, Refused, Unroutable
from tests.support.bench import PATIENCE_SECONDS, Bench, Reader, numbers, send, settle, soon, to

PARTITION, KEPT, EXCLUSIVE = QueueKind.PARTITION, QueueKind.KEPT, QueueKind.EXCLUSIVE


@pytest.mark.parametrize("kind", [PARTITION, KEPT, EXCLUSIVE])
async def test_to_declare_a_queue_again_changes_nothing(broker: Bench, kind: QueueKind) -> None:
    connection, queue = await broker.connect(), broker.queue(kind)
    channel = await connection.channel()
    await channel.declare(queue)
    await channel.publish(b"there", to(queue))

    await (await connection.channel()).declare(queue)

    assert await (await Reader().reads(channel, queue)).bodies(1) == [b"there"]


async def test_take_gives_the_first_message_or_none_and_what_is_not_acknowledged_returns(
    broker: Bench,
) -> None:
    queue = broker.queue(KEPT)
    first, second = await broker.channel(), await broker.channel()
    await first.declare(queue)
    assert await first.take(queue.name) is None
    await send(first, to(queue), numbers(2))

    zero, one = await first.take(queue.name), await first.take(queue.name)

    assert zero is not None
    assert one is not None
    assert (zero.body, one.body) == (b"0", b"1")
    assert await second.take(queue.name) is None
    await first.acknowledge(zero)
    await first.close()
    await settle(broker)
    again = await second.take(queue.name)
    assert again is not None
    assert (again.body, again.redelivered) == (b"1", True)


@pytest.mark.parametrize("kind", [PARTITION, KEPT])
async def test_these_queues_and_their_messages_survive_every_connection(
    broker: Bench, kind: QueueKind
) -> None:
    maker, queue = await broker.connect(), broker.queue(kind)
    channel = await maker.channel()
    await channel.declare(queue)
    await channel.publish(b"kept", to(queue), persistent=True)
    await maker.close()

    later = await broker.channel()
    await later.declare(queue)
    assert await (await Reader().reads(later, queue)).bodies(1) == [b"kept"]


@pytest.mark.parametrize("kind", [PARTITION, KEPT, EXCLUSIVE])
async def test_messages_come_first_in_first_out(broker: Bench, kind: QueueKind) -> None:
    channel, queue = await broker.channel(prefetch=100), broker.queue(kind)
    await channel.declare(queue)
    await send(channel, to(queue), numbers(10))

    reader = await Reader().reads(channel, queue)
    await send(channel, to(queue), numbers(10, 20))

    arrived = await reader.take(20)
    assert [one.body for one in arrived] == numbers(20)
    assert not any(one.redelivered for one in arrived)


async def test_concurrent_publishes_on_one_channel_keep_the_order_of_the_calls(
    broker: Bench,
) -> None:
    reading = await broker.channel(prefetch=1000)
    queue = broker.queue(EXCLUSIVE, feed="all")
    await reading.declare(queue)
    reader = await Reader().reads(reading, queue)
    writing = await broker.channel()
    targets = [Address(exchange=queue.fed_by[0]), to(queue)]

    # The first goes to an exchange this connection has not met: nobody may overtake it.
    await asyncio.gather(*(writing.publish(b"%d" % n, targets[n % 2]) for n in range(200)))

    assert await reader.bodies(200) == numbers(200)


async def test_receive_is_never_called_inside_a_publish(broker: Bench) -> None:
    channel, queue = await broker.channel(), broker.queue(EXCLUSIVE)
    await channel.declare(queue)
    callers: asyncio.Queue[asyncio.Task[object] | None] = asyncio.Queue()
    await channel.consume(queue.name, lambda _: callers.put_nowait(asyncio.current_task()))

    await channel.publish(b"one", to(queue))

    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await callers.get() is not asyncio.current_task()


async def test_only_one_consumer_of_a_partition_is_active(broker: Bench) -> None:
    first, second, queue = await broker.channel(), await broker.channel(), broker.queue(PARTITION)
    await first.declare(queue)
    active = await Reader().reads(first, queue)
    standing_by = await Reader().reads(second, queue)

    await send(second, to(queue), numbers(20))  # more than the prefetch of the active one

    assert await active.bodies(8) == numbers(8)
    await settle(broker)
    assert standing_by.arrived.empty()


async def test_the_next_consumer_takes_over_with_what_the_last_one_left_behind_first(
    broker: Bench,
) -> None:
    first, second, third = [await broker.channel(prefetch) for prefetch in (20, 30, 1)]
    queue = broker.queue(PARTITION)
    await first.declare(queue)
    await send(first, to(queue), numbers(20))
    active = await Reader().reads(first, queue)
    arrived = await active.take(20)
    await first.acknowledge(arrived[0])
    await send(third, to(queue), numbers(20, 25))
    standing_by = await Reader().reads(second, queue)

    await first.close()

    again = await standing_by.take(24)
    assert [one.body for one in again] == numbers(1, 25)
    assert all(one.redelivered for one in again[:19])


async def test_a_cut_connection_leaves_its_messages_to_the_next(broker: Bench) -> None:
    first, queue = await broker.channel(prefetch=3), broker.queue(PARTITION)
    await first.declare(queue)
    await send(first, to(queue), numbers(6))
    await (await Reader().reads(first, queue)).take(3)

    broker.cut()
    await soon(first.lost())

    heir = await Reader().reads(await broker.channel(prefetch=10), queue)
    assert await heir.bodies(6) == numbers(6)


async def test_acknowledge_forgets_this_message_and_only_this_one(broker: Bench) -> None:
    channel, queue = await broker.channel(), broker.queue(PARTITION)
    await channel.declare(queue)
    await send(channel, to(queue), numbers(4))
    arrived = await (await Reader().reads(channel, queue)).take(4)

    await channel.acknowledge(arrived[2])
    await channel.close()

    heir = await Reader().reads(await broker.channel(), queue)
    assert await heir.bodies(3) == [b"0", b"1", b"3"]
    await settle(broker)
    assert heir.arrived.empty()


async def test_several_are_acknowledged_at_once_and_no_other(broker: Bench) -> None:
    channel, queue = await broker.channel(), broker.queue(PARTITION)
    await channel.declare(queue)
    await send(channel, to(queue), numbers(6))
    arrived = await (await Reader().reads(channel, queue)).take(6)

    await channel.acknowledge(arrived[1], arrived[3])
    await channel.acknowledge(arrived[4], arrived[0])
    await channel.close()

    heir = await Reader().reads(await broker.channel(), queue)
    assert await heir.bodies(2) == [b"2", b"5"]
    await settle(broker)
    assert heir.arrived.empty()


@pytest.mark.parametrize("kind", [PARTITION, EXCLUSIVE])
async def test_at_most_prefetch_messages_are_held_at_a_time(broker: Bench, kind: QueueKind) -> None:
    channel, queue = await broker.channel(prefetch=2), broker.queue(kind)
    await channel.declare(queue)
    reader = await Reader().reads(channel, queue)
    await send(channel, to(queue), numbers(5))

    one, two = await reader.take(2)
    await settle(broker)
    assert reader.arrived.empty()
    await channel.acknowledge(two)
    assert await reader.bodies(1) == [b"2"]
    await settle(broker)
    assert reader.arrived.empty()
    await channel.acknowledge(one)
    assert await reader.bodies(1) == [b"3"]


async def test_a_fanout_reaches_every_queue_it_feeds(broker: Bench) -> None:
    queues = [broker.queue(kind, feed="all") for kind in (EXCLUSIVE, EXCLUSIVE, PARTITION)]
    readers = []
    for queue in queues:
        channel = await broker.channel()
        await channel.declare(queue)
        readers.append(await Reader().reads(channel, queue))

    await (await broker.channel()).publish(b"news", Address(exchange=broker.exchange("all")))

    assert [await reader.bodies(1) for reader in readers] == [[b"news"]] * 3


async def test_a_missing_queue_is_unroutable(broker: Bench) -> None:
    channel = await broker.channel()
    with pytest.raises(Unroutable):
        await channel.publish(b"lost", to(broker.queue(EXCLUSIVE)))


async def test_an_exchange_without_queues_is_unroutable(broker: Bench) -> None:
    reader = await broker.connect()
    queue = broker.queue(EXCLUSIVE, feed="all")
    await (await reader.channel()).declare(queue)
    await reader.close()
    channel = await broker.channel()

    with pytest.raises(Unroutable):
        await channel.publish(b"lost", Address(exchange=queue.fed_by[0]))


async def test_an_exchange_that_nobody_has_made_is_unroutable(broker: Bench) -> None:
    channel, feed = await broker.channel(), broker.queue(EXCLUSIVE, feed="all").fed_by[0]
    with pytest.raises(Unroutable):
        await channel.publish(b"lost", Address(exchange=feed))


@pytest.mark.parametrize("kind", [KEPT, EXCLUSIVE])
async def test_a_full_queue_refuses_and_keeps_nothing_of_it(broker: Bench, kind: QueueKind) -> None:
    channel, queue = await broker.channel(prefetch=3), broker.queue(kind, max_length=2)
    await channel.declare(queue)
    await send(channel, to(queue), numbers(2))
    with pytest.raises(Refused):
        await channel.publish(b"too many", to(queue))

    reader = await Reader().reads(channel, queue)
    assert await reader.bodies(2) == numbers(2)
    # What was handed out no longer counts.
    await send(channel, to(queue), numbers(2, 5))
    assert await reader.bodies(1) == [b"2"]
    with pytest.raises(Refused):
        await channel.publish(b"too many", to(queue))


async def test_a_fanout_with_a_full_queue_refuses_but_the_others_got_it(broker: Bench) -> None:
    channel, small = await broker.channel(), broker.queue(EXCLUSIVE, max_length=1, feed="all")
    large = broker.queue(EXCLUSIVE, feed="all")
    await channel.declare(small)
    await channel.declare(large)
    everyone = Address(exchange=broker.exchange("all"))
    await channel.publish(b"one", everyone)

    with pytest.raises(Refused):
        await channel.publish(b"two", everyone)

    assert await (await Reader().reads(channel, large)).bodies(2) == [b"one", b"two"]


async def test_an_exclusive_queue_goes_with_its_connection(broker: Bench) -> None:
    owner, queue = await broker.connect(), broker.queue(EXCLUSIVE)
    await (await owner.channel()).declare(queue)
    channel = await broker.channel()
    await channel.publish(b"there", to(queue))

    await owner.close()

    with pytest.raises(Unroutable):
        await channel.publish(b"gone", to(queue))
    await channel.declare(queue)


async def test_an_exclusive_queue_outlives_the_channel_that_declared_it(broker: Bench) -> None:
    owner, queue = await broker.connect(), broker.queue(EXCLUSIVE)
    maker = await owner.channel()
    await maker.declare(queue)
    await maker.close()
    channel = await owner.channel()
    await channel.publish(b"there", to(queue))
    assert await (await Reader().reads(channel, queue)).bodies(1) == [b"there"]


async def test_the_name_of_an_exclusive_queue_is_locked_to_others(broker: Bench) -> None:
    owner, other, queue = await broker.channel(), await broker.channel(), broker.queue(EXCLUSIVE)
    await owner.declare(queue)
    reader = await Reader().reads(owner, queue)

    with pytest.raises(BrokerUnavailable):
        await other.declare(queue)
    # The failure cost neither channel, and others may still write.
    await other.publish(b"hello", to(queue))
    assert await reader.bodies(1) == [b"hello"]
    with pytest.raises(BrokerUnavailable):
        await Reader().reads(other, queue)


async def test_unroutable_and_refused_leave_the_channel_as_it_was(broker: Bench) -> None:
    channel, queue = await broker.channel(), broker.queue(EXCLUSIVE, max_length=1)
    await channel.declare(queue)
    nowhere = to(broker.queue(EXCLUSIVE))
    calls = [channel.publish(b"%d" % n, [to(queue), nowhere][n % 2]) for n in range(6)]

    results = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(result) for result in results[:2]] == [type(None), Unroutable]
    assert [type(result) for result in results[2:]] == [Refused, Unroutable] * 2
    assert await (await Reader().reads(channel, queue)).bodies(1) == [b"0"]


async def test_consuming_a_missing_queue_is_not_possible(broker: Bench) -> None:
    with pytest.raises(BrokerUnavailable):
        await Reader().reads(await broker.channel(), broker.queue(EXCLUSIVE))
