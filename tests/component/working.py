"""Workers of extensions for the tests: handlers of the helper, and programs that know only AMQP."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from extensions.handlers import Extension
from extensions.worker import Worker
from shared.broker import topology
from shared.broker.ports import Address, Arrived
from shared.process.run import background
from tests.support.embedded import Place, until


@asynccontextmanager
async def working(place: Place, *handlers: Extension, name: str = "one") -> AsyncIterator[Worker]:
    """Have a worker carry out commands until the end of the context."""
    by_type = {one.type: one for one in handlers}
    worker = Worker(place.server.broker, name, by_type, CollectorRegistry())
    async with background(worker.run()):
        await until(lambda: worker.ready, "the worker is ready")
        yield worker


@asynccontextmanager
async def program(
    place: Place, kind: str, answers: Callable[[Arrived], list[bytes]] = lambda _: []
) -> AsyncIterator["asyncio.Queue[Arrived]"]:
    """Have a bare program consume a type; yield what it was given.

    It sends what ``answers`` returns, and acknowledges only what it has answered.
    """
    given: asyncio.Queue[Arrived] = asyncio.Queue()
    connection = await place.server.broker.connect("program")
    channel = await connection.channel()
    queue = topology.extension(kind)
    await channel.declare(queue)
    arrivals: asyncio.Queue[Arrived] = asyncio.Queue()
    await channel.consume(queue.name, arrivals.put_nowait)

    async def work() -> None:
        while True:
            arrived = await arrivals.get()
            given.put_nowait(arrived)
            bodies, to = answers(arrived), Address(queue=arrived.reply_to)
            for body in bodies:
                await channel.publish(body, to, correlation=arrived.correlation)
            if bodies:
                await channel.acknowledge(arrived)

    async with background(work()):
        yield given
    await connection.close()
