"""What shared/broker/ports.py promises of logs, on every broker."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from shared.broker.ports import Arrived, Channel, Queue, QueueKind
from shared.errors import BrokerUnavailable
from tests.support.bench import Bench, Reader, numbers, send, settle, soon, to

LOG = QueueKind.LOG
PLENTY = 100_000_000

ROUNDS = 40
"""RabbitMQ drops the oldest in whole segments and in its own time: one look does not tell what the
next one will find. Each round gives it another reason."""


@pytest.fixture
async def writing(broker: Bench) -> Channel:
    return await broker.channel()


@pytest.fixture
async def log(broker: Bench, writing: Channel) -> Queue:
    log = broker.queue(LOG, max_bytes=PLENTY)
    await writing.declare(log)
    return log


async def append(channel: Channel, log: Queue, bodies: list[bytes]) -> None:
    """Append many at once; RabbitMQ keeps such records in few pieces, and their order."""
    await asyncio.gather(*(channel.publish(body, to(log)) for body in bodies))


async def read(broker: Bench, log: Queue, number: int) -> list[Arrived]:
    """Read so many records from the beginning."""
    channel = await broker.channel(prefetch=number)
    records = await (await Reader().follows(channel, log)).take(number)
    await channel.close()
    return records


async def test_records_come_in_order_at_growing_places(
    broker: Bench, writing: Channel, log: Queue
) -> None:
    await send(writing, to(log), numbers(20))

    records = await read(broker, log, 20)

    assert [one.body for one in records] == numbers(20)
    assert all(one.place < other.place for one, other in pairwise(records))
    assert not any(one.redelivered for one in records)


async def test_many_appends_at_once_keep_the_order_of_the_calls(
    broker: Bench, writing: Channel, log: Queue
) -> None:
    await append(writing, log, numbers(200))
    assert [one.body for one in await read(broker, log, 200)] == numbers(200)


@pytest.mark.parametrize("number", [0, 1, 77, 199])
async def test_reading_from_the_place_of_a_record_begins_with_that_record(
    broker: Bench, writing: Channel, log: Queue, number: int
) -> None:
    await append(writing, log, numbers(200))
    place = (await read(broker, log, 200))[number].place

    reader = await Reader().follows(await broker.channel(), log, place)

    (record,) = await reader.take(1)
    assert (record.body, record.place) == (b"%d" % number, place)


async def test_reading_from_a_moment_misses_nothing_since_then(
    broker: Bench, writing: Channel, log: Queue
) -> None:
    await send(writing, to(log), numbers(10))
    moment = datetime.now(UTC)
    await send(writing, to(log), numbers(10, 20))

    reader = await Reader().follows(await broker.channel(prefetch=20), log, moment)

    bodies: list[bytes] = []
    while b"19" not in bodies:
        bodies += await reader.bodies(1)
    assert bodies[-10:] == numbers(10, 20)
    assert bodies == numbers(20)[-len(bodies) :]


async def test_reading_from_a_moment_before_the_first_record_begins_with_it(
    broker: Bench, writing: Channel, log: Queue
) -> None:
    await send(writing, to(log), numbers(3))
    long_ago = datetime.now(UTC) - timedelta(days=1)
    reader = await Reader().follows(await broker.channel(), log, long_ago)
    assert await reader.bodies(3) == numbers(3)


async def test_records_to_come_are_handed_over_too(
    broker: Bench, writing: Channel, log: Queue
) -> None:
    early = await Reader().follows(await broker.channel(), log)
    await send(writing, to(log), numbers(2))
    records = await early.take(2)
    behind_the_last = await Reader().follows(await broker.channel(), log, records[1].place + 1)
    from_now = await Reader().follows(await broker.channel(), log, datetime.now(UTC))

    await writing.publish(b"new", to(log))

    assert [one.body for one in records] == numbers(2)
    assert await early.bodies(1) == [b"new"]
    assert await behind_the_last.bodies(1) == [b"new"]
    while await from_now.bodies(1) != [b"new"]:
        pass  # older ones may come first


async def test_readers_take_nothing_out_and_nothing_from_each_other(
    broker: Bench, writing: Channel, log: Queue
) -> None:
    await send(writing, to(log), numbers(5))
    first, second = await broker.channel(), await broker.channel()
    readers = [await Reader().follows(channel, log) for channel in (first, second, second)]

    for reader, channel in zip(readers, (first, second, second), strict=True):
        records = await reader.take(5)
        assert [one.body for one in records] == numbers(5)
        for record in records:
            await channel.acknowledge(record)
    await settle(broker)

    assert all(reader.arrived.empty() for reader in readers)
    assert [one.body for one in await read(broker, log, 5)] == numbers(5)


async def test_a_reader_and_a_consumer_on_one_channel_do_not_disturb_each_other(
    broker: Bench, writing: Channel, log: Queue
) -> None:
    channel, queue = await broker.channel(prefetch=2), broker.queue(QueueKind.PARTITION)
    await channel.declare(queue)
    reader = await Reader().follows(channel, log)
    consumer = await Reader().reads(channel, queue)

    for target in (log, queue):
        await send(writing, to(target), numbers(4))

    read, consumed = await reader.take(2), await consumer.take(2)
    await settle(broker)
    assert reader.arrived.empty()
    assert consumer.arrived.empty()
    await channel.acknowledge(read[0])
    assert await reader.bodies(1) == [b"2"]
    await channel.acknowledge(consumed[1])
    assert await consumer.bodies(1) == [b"2"]
    assert [one.place for one in consumed] == [0, 0]


async def test_at_most_prefetch_records_are_held_and_acknowledging_brings_the_next(
    broker: Bench, writing: Channel, log: Queue
) -> None:
    await append(writing, log, numbers(200))
    channel = await broker.channel(prefetch=3)
    reader = await Reader().follows(channel, log)

    held = await reader.take(3)
    for expected in numbers(3, 9):
        await settle(broker)
        assert reader.arrived.empty()
        await channel.acknowledge(held.pop())
        held += await reader.take(1)
        assert held[-1].body == expected


async def test_closing_the_channel_ends_the_reading_at_once(
    broker: Bench, writing: Channel, log: Queue
) -> None:
    await append(writing, log, numbers(200))
    channel = await broker.channel(prefetch=1)
    reader = await Reader().follows(channel, log)
    (first,) = await reader.take(1)

    await channel.acknowledge(first)  # there is room for the next
    await channel.close()

    await writing.publish(b"new", to(log))
    await settle(broker)
    assert reader.arrived.empty()


async def test_a_log_outlives_every_connection(broker: Bench, writing: Channel, log: Queue) -> None:
    await send(writing, to(log), numbers(3))

    broker.cut()
    await soon(writing.lost())

    later = await broker.channel()
    await later.declare(log)
    await later.publish(b"3", to(log))
    assert [one.body for one in await read(broker, log, 4)] == numbers(4)


async def test_to_declare_a_log_again_changes_nothing(
    broker: Bench, writing: Channel, log: Queue
) -> None:
    await send(writing, to(log), numbers(2))
    reader = await Reader().follows(await broker.channel(), log)

    await (await broker.channel()).declare(log)

    await writing.publish(b"2", to(log))
    assert await reader.bodies(3) == numbers(3)


async def test_a_full_log_drops_its_oldest_and_a_place_that_has_gone_leads_to_the_oldest_left(
    broker: Bench, writing: Channel
) -> None:
    log, written = broker.queue(LOG, max_bytes=20_000), 0
    await writing.declare(log)
    for _ in range(ROUNDS):
        bodies = [b"%d".ljust(200) % number for number in range(written, written + 50)]
        await append(writing, log, bodies)
        written += 50

        left = await read_until(broker, log, bodies[-1])

        oldest = int(left[0])
        assert [int(body) for body in left] == list(range(oldest, written))
        if oldest >= 100 and sum(map(len, left)) < 40_000:
            return
    pytest.fail(f"{written} records were appended, and {len(left)} are left")


async def read_until(broker: Bench, log: Queue, last: bytes) -> list[bytes]:
    """Read all that is left, from the place of the very first record on."""
    channel = await broker.channel(prefetch=ROUNDS * 50)
    reader, bodies = await Reader().follows(channel, log), list[bytes]()
    while last not in bodies[-1:]:
        bodies += await reader.bodies(1)
    await channel.close()
    return bodies


async def test_reading_a_missing_log_is_not_possible(broker: Bench) -> None:
    with pytest.raises(BrokerUnavailable):
        await Reader().follows(await broker.channel(), broker.queue(LOG))
