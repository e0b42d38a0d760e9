"""Hearing for a while what the processes of the cluster say of themselves."""

import asyncio
import time
from contextlib import suppress

from ulid import ULID

from shared.broker import topology
from shared.broker.ports import Arrived, Broker, Connection, raise_when_lost
from shared.errors import BrokerUnavailable
from shared.messages import codec
from shared.overview import Overview


async def listen(broker: Broker, overview: Overview, seconds: float | None = None) -> None:
    """Tell an overview what is heard for so long, or for ever.

    Raises:
        BrokerUnavailable: it cannot be heard, or no longer.
    """
    connection = await broker.connect("overview")
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await _hear(connection, overview)
    finally:
        await connection.close()


async def _hear(connection: Connection, overview: Overview) -> None:
    channel = await connection.channel(prefetch=1000)
    heard: asyncio.Queue[Arrived] = asyncio.Queue()
    queue = topology.news(f"overview.{ULID()}", topology.FROM_GATEWAYS, topology.FROM_SERVICES)
    await channel.declare(queue)
    await channel.consume(queue.name, heard.put_nowait)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(raise_when_lost(channel))
            while True:
                arrived = await heard.get()
                with suppress(codec.Undecodable):  # of another release, perhaps
                    overview.hear(codec.decode(arrived.body, codec.NEWS), time.monotonic())
                await channel.acknowledge(arrived)
    except* BrokerUnavailable as errors:
        raise BrokerUnavailable(str(errors.exceptions[0])) from errors
