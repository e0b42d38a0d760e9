"""The brokers that the contract holds for."""

from collections.abc import AsyncIterator

import pytest

from shared.broker.memory import MemoryBroker
from shared.broker.ports import QueueKind
from shared.broker.rabbitmq import RabbitMQBroker
from tests.support.bench import Bench
from tests.support.rabbitmq import Relay, delete_exchanges, delete_queues


@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    if request.param == "memory":
        memory = MemoryBroker()
        yield Bench(memory, memory.cut)
        return
    url = request.getfixturevalue("rabbitmq_url")
    relay = Relay(url)
    await relay.start()
    bench = Bench(RabbitMQBroker(relay.url), relay.cut)
    yield bench
    for connection in bench.connections:
        await connection.close()
    await relay.stop()
    await delete_queues(
        url, *(queue.name for queue in bench.queues if queue.kind is not QueueKind.EXCLUSIVE)
    )
    fed_by = {name for queue in bench.queues for name in queue.fed_by}
    bound_to = {address.exchange for queue in bench.queues for address in queue.bound_to}
    await delete_exchanges(url, *fed_by, *bound_to)
