"""The bare round trip over RabbitMQ that every message between two gateways makes, too.

There and back by exclusive queues, with publisher confirms; nothing is done with it on the way.
"""

import asyncio
import time
from contextlib import suppress

import uvloop

from shared.broker.ports import Address, Arrived, Queue, QueueKind
from shared.broker.rabbitmq import RabbitMQBroker

THERE = Queue("bench.there", QueueKind.EXCLUSIVE)
BACK = Queue("bench.back", QueueKind.EXCLUSIVE)
WARM_UP = 50
PATIENCE = 10.0


def measure(url: str, *, rate: float, count: int, size: int) -> list[float]:
    """Return how long each of so many round trips took, in milliseconds, in order of length."""
    return uvloop.run(_measure(url, rate, count, size))


async def _measure(url: str, rate: float, count: int, size: int) -> list[float]:
    broker = RabbitMQBroker(url)
    near, far = await broker.connect("near"), await broker.connect("far")
    try:
        here, there = await near.channel(prefetch=1000), await far.channel(prefetch=1000)
        await here.declare(BACK)
        await there.declare(THERE)
        took: list[float] = []
        running: set[asyncio.Task[None]] = set()

        async def echo(arrived: Arrived) -> None:
            await there.publish(arrived.body, Address(queue=BACK.name))
            await there.acknowledge(arrived)

        async def heard(arrived: Arrived) -> None:
            took.append((time.monotonic() - float(arrived.body[:20])) * 1e3)
            await here.acknowledge(arrived)

        def start(work: "asyncio.Task[None]") -> None:
            running.add(work)
            work.add_done_callback(running.discard)

        await there.consume(THERE.name, lambda one: start(asyncio.create_task(echo(one))))
        await here.consume(BACK.name, lambda one: start(asyncio.create_task(heard(one))))
        began = time.monotonic()
        for number in range(WARM_UP + count):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            body = f"{time.monotonic():<20.9f}".encode().ljust(size)
            start(asyncio.create_task(here.publish(body, Address(queue=THERE.name))))
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while len(took) < WARM_UP + count:  # noqa: ASYNC110 - nothing else is to be done
                    await asyncio.sleep(0.01)
        return sorted(took[WARM_UP:])
    finally:
        await near.close()
        await far.close()
