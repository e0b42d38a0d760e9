"""F18: a great many subscriptions, and nothing of them is left when they are gone."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from realtime_client import Client
from standalone.local_cluster import LocalCluster
from tests.chaos.bars import Socket, close_all, http, open_socket, resident, say, total, urls
from tests.support.cluster import clients, eventually

pytestmark = [pytest.mark.rabbitmq, pytest.mark.bars]

CONNECTIONS = 400
PATTERNS = 250
REQUEST = 100
"""Topics in one request, at most (T8)."""

AT_ONCE = 8
MAX_BYTES = 240_000_000
"""What both routers together may grow by, at a scale of 1."""

LEAK = 0.25
"""What a second round may add, as a share of the first."""

PROBES = 100
ANSWER_SECONDS = 60.0


def patterns_of(connection: int) -> list[str]:
    """Return what a connection wants; no two want the same."""
    return [f"f18.connection-{connection}.topic-{number}" for number in range(PATTERNS)]


async def ask(socket: Socket, kind: str, topics: list[str]) -> float:
    """Send one request and wait for its end; return how long it took."""
    command, began = f"{kind} {len(socket.heard)}", time.monotonic()
    await socket.send(kind, {"topics": topics}, id=command)
    async with asyncio.timeout(ANSWER_SECONDS):
        while True:
            answer = await socket.wire.receive_json()
            assert answer["type"] != "Error", answer
            if answer["type"] == "Ack" and answer.get("id") == command:
                return time.monotonic() - began


async def all_ask(sockets: list[Socket], kind: str) -> list[float]:
    """Have everybody subscribe to all their patterns, or unsubscribe; return the times taken."""
    turns, took = asyncio.Semaphore(AT_ONCE), []

    async def one(number: int, socket: Socket) -> None:
        topics = patterns_of(number)
        async with turns:
            for first in range(0, len(topics), REQUEST):
                some = topics[first : first + REQUEST]
                took.append(await ask(socket, kind, some))

    await asyncio.gather(*(one(number, socket) for number, socket in enumerate(sockets)))
    return sorted(took)


async def probe(asker: Client, recipients: int, connections: int) -> None:
    """Check by some broadcasts that so many want each topic."""
    for number in range(PROBES):
        connection = number * connections // PROBES
        topic = patterns_of(connection)[number % PATTERNS]
        assert (await asker.broadcast(topic, {}, {"ttl": 0}))["recipients"] == recipients, topic


async def test_a_hundred_thousand_subscriptions_fit_into_the_routers_and_leave_nothing(
    cluster: LocalCluster, scale: int
) -> None:
    routers, gateways = cluster.of("router"), cluster.of("gateway")
    connections = CONNECTIONS * scale
    grown: list[int] = []
    async with http() as session, clients((urls(cluster)[0], "asker")) as (asker,):
        sockets = [
            await open_socket(session, urls(cluster)[number % 2], f"many-{number}")
            for number in range(connections)
        ]
        try:
            await probe(asker, 0, connections)  # so that all is warm
            before, before_gateways = resident(routers), resident(gateways)
            for _ in range(2):
                took = await all_ask(sockets, "Subscribe")
                await probe(asker, 1, connections)
                grown.append(resident(routers) - before)
                in_gateways = resident(gateways) - before_gateways
                say(
                    "F18",
                    pairs=connections * PATTERNS,
                    routers_grew=f"{grown[-1] / 1e6:.1f} MB",
                    gateways_grew=f"{in_gateways / 1e6:.1f} MB",
                    subscribe_p50=f"{took[len(took) // 2] * 1000:.0f} ms",
                    subscribe_p99=f"{took[len(took) * 99 // 100] * 1000:.0f} ms",
                )
                await all_ask(sockets, "Unsubscribe")
                await no_interest(lambda: probe(asker, 0, connections), cluster)
            assert grown[0] < MAX_BYTES * scale
            assert grown[1] - grown[0] < LEAK * grown[0]
        finally:
            await close_all(sockets)


async def no_interest(probing: Callable[[], Awaitable[None]], cluster: LocalCluster) -> None:
    """Check that no gateway is given anything any more."""
    name = 'realtime_gateway_batches_total{service="router"}'
    gateways = cluster.of("gateway")
    before = total(gateways, name)
    await probing()
    assert total(gateways, name) == before
    await eventually(
        lambda: all(one.ready for one in cluster.services), 20, "everybody can do their work"
    )
