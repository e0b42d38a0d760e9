"""A process that is told to stop ends by itself, and well, whatever its broker does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from yarl import URL

from standalone.local_cluster import LocalCluster, Service
from tests.chaos.proxy import Proxy
from tests.support.broker import Troubled
from tests.support.cluster import free_ports, make_cluster

pytestmark = pytest.mark.rabbitmq

ROUTERS = 6
"""What this is about may go well by chance."""


@pytest.fixture
async def wires(rabbitmq: Troubled) -> AsyncIterator[list[Proxy]]:
    target = URL(rabbitmq.url).port or 5672
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Proxy(port, target)) for port in free_ports(ROUTERS)]


@pytest.fixture
async def routers(
    rabbitmq: Troubled, wires: list[Proxy], tmp_path: Path
) -> AsyncIterator[list[Service]]:
    """Routers, each on a wire of its own."""
    cluster = make_cluster(rabbitmq.url, tmp_path, gateways=0)
    try:
        yield await asyncio.to_thread(start_all, cluster, wires)
    finally:
        await asyncio.to_thread(cluster.stop)


def start_all(cluster: LocalCluster, wires: list[Proxy]) -> list[Service]:
    for number, wire in enumerate(wires):
        url = str(URL(cluster.amqp_url).with_port(wire.port))
        cluster.add("router", f"router-{number}", REALTIME_AMQP_URL=url)
    cluster.wait_ready()
    return list(cluster.services)


async def test_a_router_ends_by_itself_though_its_broker_does_not_answer(
    routers: list[Service], wires: list[Proxy]
) -> None:
    for wire in wires:
        wire.fall_silent()

    statuses = [asyncio.to_thread(router.stop) for router in routers]

    assert await asyncio.gather(*statuses) == [0] * ROUTERS
    assert not any("tasks do not end" in router.log.read_text() for router in routers)
