"""What RabbitMQ and the network do to us, and that the port's promises hold then too."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from shared.broker.ports import Channel, Queue, QueueKind
from shared.broker.rabbitmq import CLOSE_TIMEOUT, PUBLISH_TIMEOUT, RabbitMQBroker
from shared.errors import BrokerUnavailable
from tests.support.bench import PATIENCE_SECONDS, Bench, Reader, numbers, soon, to
from tests.support.broker import WRITE_DOWN, Troubled
from tests.support.rabbitmq import Relay, delete_queues

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
async def relay(rabbitmq_url: str) -> AsyncIterator[Relay]:
    relay = Relay(rabbitmq_url)
    await relay.start()
    yield relay
    await relay.stop()


@pytest.fixture
def queue() -> Queue:
    return Queue(f"test.{secrets.token_hex(4)}", QueueKind.EXCLUSIVE)


async def within(seconds: float, event: object) -> None:
    async with asyncio.timeout(seconds):
        await event  # type: ignore[misc]


async def test_nobody_listening_is_broker_unavailable() -> None:
    with pytest.raises(BrokerUnavailable):
        await RabbitMQBroker("amqp://guest:guest@127.0.0.1:1/").connect("test")


async def test_a_wrong_password_is_broker_unavailable(relay: Relay) -> None:
    with pytest.raises(BrokerUnavailable):
        await RabbitMQBroker(relay.url.replace("//guest:guest", "//guest:wrong")).connect("test")


async def test_on_a_silent_wire_everything_ends_in_time(relay: Relay, queue: Queue) -> None:
    connection = await RabbitMQBroker(relay.url).connect("test")
    channel, other = await connection.channel(), await connection.channel()
    await channel.declare(queue)
    relay.fall_silent()

    started = time.monotonic()
    with pytest.raises(BrokerUnavailable):
        await channel.publish(b"one", to(queue))
    assert PUBLISH_TIMEOUT <= time.monotonic() - started < PUBLISH_TIMEOUT + 1
    await within(CLOSE_TIMEOUT + 1, channel.close())
    await within(CLOSE_TIMEOUT + 1, connection.close())
    await within(1, asyncio.gather(connection.lost(), channel.lost(), other.lost()))


async def test_a_cancelled_publish_is_cancelled_and_not_an_error(
    relay: Relay, queue: Queue
) -> None:
    connection = await RabbitMQBroker(relay.url).connect("test")
    channel = await connection.channel()
    await channel.declare(queue)
    relay.fall_silent()
    publishing = asyncio.create_task(channel.publish(b"one", to(queue)))
    declaring = asyncio.create_task(channel.declare(queue))
    await asyncio.sleep(0.05)

    publishing.cancel()
    declaring.cancel()

    for task in (publishing, declaring):
        with pytest.raises(asyncio.CancelledError):
            await task
    relay.cut()
    await connection.close()


@pytest.mark.parametrize("cause", ["cut", "connection closed", "channel closed"])
async def test_what_is_in_flight_when_it_ends_is_broker_unavailable(
    relay: Relay, queue: Queue, cause: str
) -> None:
    connection = await RabbitMQBroker(relay.url).connect("test")
    channel = await connection.channel()
    await channel.declare(queue)
    relay.fall_silent()
    calls = [channel.publish(b"one", to(queue)) for _ in range(30)]
    publishing = [asyncio.create_task(call) for call in [*calls, channel.declare(queue)]]
    await asyncio.sleep(0.05)

    if cause == "cut":
        relay.cut()
    else:
        await (connection if cause == "connection closed" else channel).close()

    results = await asyncio.gather(*publishing, return_exceptions=True)
    assert {type(result) for result in results} == {BrokerUnavailable}
    relay.cut()
    await connection.close()


async def test_closing_a_channel_while_it_publishes_is_no_other_error(
    relay: Relay, queue: Queue
) -> None:
    connection = await RabbitMQBroker(relay.url).connect("test")
    channel = await connection.channel()
    await channel.declare(queue)
    publishing = [asyncio.create_task(channel.publish(b"one", to(queue))) for _ in range(100)]
    await asyncio.sleep(0)

    await channel.close()

    results = await asyncio.gather(*publishing, return_exceptions=True)
    assert {type(result) for result in results} <= {type(None), BrokerUnavailable}
    await connection.close()


@pytest.mark.parametrize("kind", [QueueKind.KEPT, QueueKind.LOG])
async def test_a_channel_whose_queue_is_deleted_is_lost(rabbitmq_url: str, kind: QueueKind) -> None:
    connection = await RabbitMQBroker(rabbitmq_url).connect("test")
    channel = await connection.channel()
    queue = Queue(f"test.{secrets.token_hex(4)}", kind)
    await channel.declare(queue)
    if kind is QueueKind.LOG:
        await channel.read(queue.name, 0, print)
    else:
        await channel.consume(queue.name, print)

    await delete_queues(rabbitmq_url, queue.name)

    await soon(channel.lost())
    with pytest.raises(BrokerUnavailable):
        await channel.publish(b"late", to(queue))
    await connection.channel()
    await connection.close()


async def test_while_the_broker_is_short_of_memory_publish_fails_at_once(
    rabbitmq: Troubled, queue: Queue
) -> None:
    broker = RabbitMQBroker(rabbitmq.url)
    connection = await broker.connect("test")
    channel = await connection.channel()
    await channel.declare(queue)
    assert not broker.is_blocked

    rabbitmq.ctl("set_vm_memory_high_watermark", "0.000001")
    with pytest.raises(BrokerUnavailable):  # it learns of the alarm with its first publish
        await channel.publish(b"one", to(queue))
    started = time.monotonic()
    with pytest.raises(BrokerUnavailable):
        await channel.publish(b"two", to(queue))
    assert time.monotonic() - started < 0.1
    assert broker.is_blocked

    rabbitmq.ctl("set_vm_memory_high_watermark", "0.8")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while connection.is_blocked:  # noqa: ASYNC110 (nothing to await: it is polled)
            await asyncio.sleep(0.05)
    assert not broker.is_blocked
    await channel.publish(b"three", to(queue))
    await connection.close()


async def test_a_killed_broker_loses_connections_but_nothing_it_took_for_a_partition(
    rabbitmq: Troubled, mortal: Bench
) -> None:
    partition = mortal.queue(QueueKind.PARTITION)
    channel = await declare_for_good(rabbitmq, mortal, partition)
    for body in numbers(10):
        await channel.publish(body, to(partition), persistent=True)

    await kill_and_restart(rabbitmq, mortal)

    reader = Reader()
    await at_last(mortal, lambda channel: reader.reads(channel, partition))
    assert await reader.bodies(10) == numbers(10)


async def test_a_killed_broker_loses_no_record_that_it_confirmed(
    rabbitmq: Troubled, mortal: Bench
) -> None:
    log = mortal.queue(QueueKind.LOG, max_bytes=100_000_000)
    channel = await declare_for_good(rabbitmq, mortal, log)
    await asyncio.gather(*(channel.publish(body, to(log)) for body in numbers(500)))

    await kill_and_restart(rabbitmq, mortal)

    reader = Reader()
    channel = await at_last(mortal, lambda channel: reader.follows(channel, log))
    await channel.publish(b"500", to(log))
    assert await reader.bodies(501) == numbers(501)


async def test_what_waits_when_the_broker_is_killed_still_moves_to_the_dead_letters(
    rabbitmq: Troubled, mortal: Bench
) -> None:
    dead = mortal.queue(QueueKind.KEPT)
    waiting = mortal.queue(QueueKind.KEPT, ttl_ms=2_000, dead_letters=dead.name)
    channel = await declare_for_good(rabbitmq, mortal, dead, waiting)
    for body in numbers(10):
        await channel.publish(body, to(waiting), persistent=True)

    await kill_and_restart(rabbitmq, mortal)

    reader = Reader()
    await at_last(mortal, lambda channel: reader.reads(channel, dead))
    assert await reader.bodies(10) == numbers(10)


@pytest.fixture
async def mortal(rabbitmq: Troubled) -> AsyncIterator[Bench]:
    bench = Bench(RabbitMQBroker(rabbitmq.url), rabbitmq.kill)
    yield bench
    for connection in bench.connections:
        await connection.close()


async def declare_for_good(rabbitmq: Troubled, mortal: Bench, *queues: Queue) -> Channel:
    channel = await mortal.channel()
    for queue in queues:
        await channel.declare(queue)
    await asyncio.to_thread(rabbitmq.ctl, "eval", WRITE_DOWN)
    return channel


async def kill_and_restart(rabbitmq: Troubled, mortal: Bench) -> None:
    mortal.cut()
    await soon(asyncio.gather(*(connection.lost() for connection in mortal.connections)))
    await asyncio.to_thread(rabbitmq.restart)


async def at_last(mortal: Bench, begin: Callable[[Channel], Awaitable[object]]) -> Channel:
    """Begin as soon as the queue has a leader again; until then it may cost the connection."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                channel = await mortal.channel(prefetch=1000)
                await begin(channel)
            except BrokerUnavailable:
                continue
            return channel
