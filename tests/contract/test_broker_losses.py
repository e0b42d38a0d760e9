"""What shared/broker/ports.py promises of channels and connections that are gone."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shared.broker.ports import Arrived, Channel, Connection, QueueKind
from shared.errors import BrokerUnavailable
from tests.support.bench import Bench, Reader, soon, to

EXCLUSIVE = QueueKind.EXCLUSIVE


async def lose_by_closing_the_channel(_: Bench, __: Connection, channel: Channel) -> None:
    await channel.close()


async def lose_by_closing_the_connection(_: Bench, connection: Connection, __: Channel) -> None:
    await connection.close()


async def lose_by_cutting_the_wire(broker: Bench, _: Connection, __: Channel) -> None:
    broker.cut()


async def lose_by_fault(broker: Bench, _: Connection, channel: Channel) -> None:
    """Acknowledge twice: the broker itself closes the channel."""
    queue = broker.queue(EXCLUSIVE)
    await channel.declare(queue)
    await channel.publish(b"one", to(queue))
    (arrived,) = await (await Reader().reads(channel, queue)).take(1)
    await channel.acknowledge(arrived)
    await channel.acknowledge(arrived)


@pytest.mark.parametrize(
    "lose",
    [
        lose_by_closing_the_channel,
        lose_by_closing_the_connection,
        lose_by_cutting_the_wire,
        lose_by_fault,
    ],
)
async def test_a_lost_channel_says_so_and_does_nothing_any_more(
    broker: Bench, lose: Callable[[Bench, Connection, Channel], object]
) -> None:
    connection, queue = await broker.connect(), broker.queue(EXCLUSIVE)
    channel = await connection.channel()
    lost = [asyncio.create_task(channel.lost()) for _ in range(2)]
    await asyncio.sleep(0)
    assert not any(waiting.done() for waiting in lost)

    await lose(broker, connection, channel)  # type: ignore[misc]

    await soon(asyncio.gather(*lost, channel.lost()))
    for attempt in (
        channel.declare(queue),
        channel.publish(b"late", to(queue)),
        channel.consume(queue.name, print),
        channel.read(queue.name, 0, print),
        channel.take(queue.name),
        channel.acknowledge(Arrived(b"late", 1)),
    ):
        with pytest.raises(BrokerUnavailable) as caught:
            await attempt
        assert type(caught.value) is BrokerUnavailable
    await channel.close()


@pytest.mark.parametrize("lose", [lose_by_closing_the_connection, lose_by_cutting_the_wire])
async def test_a_lost_connection_says_so_and_opens_no_channel(
    broker: Bench, lose: Callable[[Bench, Connection, Channel], object]
) -> None:
    connection = await broker.connect()
    channel = await connection.channel()
    lost = asyncio.create_task(connection.lost())

    await lose(broker, connection, channel)  # type: ignore[misc]

    await soon(asyncio.gather(lost, connection.lost(), channel.lost()))
    with pytest.raises(BrokerUnavailable):
        await connection.channel()
    await connection.close()


async def test_losing_a_channel_is_not_losing_the_connection(broker: Bench) -> None:
    connection = await broker.connect()
    lost = asyncio.create_task(connection.lost())
    first, second = await connection.channel(), await connection.channel()
    await first.close()
    await second.declare(broker.queue(EXCLUSIVE))
    assert not lost.done()
    lost.cancel()


async def lose_one(_: Bench, connection: Connection) -> None:
    await connection.close()


async def lose_all(broker: Bench, _: Connection) -> None:
    broker.cut()


@pytest.mark.parametrize("lose", [lose_one, lose_all])
async def test_a_broker_is_connected_until_the_last_of_its_connections_is_gone(
    broker: Bench, lose: Callable[[Bench, Connection], Awaitable[None]]
) -> None:
    assert not broker.broker.is_connected
    first, second = await broker.connect(), await broker.connect()
    assert broker.broker.is_connected
    assert not broker.broker.is_blocked

    await first.close()
    assert broker.broker.is_connected
    await lose(broker, second)
    await soon(second.lost())
    assert not broker.broker.is_connected
