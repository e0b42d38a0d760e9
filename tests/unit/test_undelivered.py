"""What no gateway took goes to the partition that must know: presence_service/undelivered.py."""

import asyncio
from types import SimpleNamespace
from typing import Any

from msgspec import Raw
from prometheus_client import CollectorRegistry

from presence_service.undelivered import Undelivered
from shared.broker import topology
from shared.broker.memory import MemoryBroker
from shared.broker.ports import Arrived
from shared.messages import codec
from shared.messages.deliveries import DeliveryBatch, SettleAsked
from shared.messages.envelopes import Settled
from shared.ownership.counts import Counts
from tests.unit.builders import life


async def test_a_question_that_no_gateway_took_is_answered_to_the_partition_that_asked() -> None:
    connection = await MemoryBroker().connect("replica")
    channel = await connection.channel()
    commands = topology.commands(topology.PRESENCE, 5)
    arrivals: asyncio.Queue[Arrived] = asyncio.Queue()
    for queue in (topology.UNDELIVERED, commands):
        await channel.declare(queue)
    await channel.consume(commands.name, arrivals.put_nowait)
    replica: Any = SimpleNamespace(connection=connection, sender=life("replica"))
    moving = asyncio.create_task(
        Undelivered(16, Counts("presence", CollectorRegistry())).run(replica)
    )
    question = Raw(codec.encode(SettleAsked("", "n1")))

    await channel.publish(
        codec.encode(DeliveryBatch(5, 1, 1, 0, [question])),
        topology.queue_address(topology.UNDELIVERED),
    )

    async with asyncio.timeout(5):
        arrived = await arrivals.get()
    moving.cancel()
    [item] = codec.decode(arrived.body, codec.COMMAND_BATCH).items
    assert codec.decode(bytes(item.envelope), codec.PRESENCE_COMMAND) == Settled("", "n1")
