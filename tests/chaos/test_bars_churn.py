"""F25: clients come and go, and nothing of them stays."""

import asyncio

import aiohttp
import pytest

from standalone.local_cluster import LocalCluster
from tests.chaos.bars import (
    Socket,
    depths,
    http,
    nothing_waits,
    open_files,
    open_socket,
    resident,
    say,
    urls,
)
from tests.support.broker import Troubled
from tests.support.cluster import eventually, metric

pytestmark = [pytest.mark.rabbitmq, pytest.mark.bars]

CYCLES = 8_000
WARM_CYCLES = 24_000
"""Until all that is remembered of the last so many is full."""

AT_ONCE = 20
BYTES_PER_CYCLE = 200
"""What a process may grow by in so few cycles; the bar of 1 kB for 1,000 needs a scale of 50."""


async def cycle(session: aiohttp.ClientSession, urls_: list[str], cycles: int) -> None:
    """Connect, subscribe and go, by turns cleanly and without a word.

    What is said is remembered for a while, by design, so here nothing is.
    """

    async def one(number: int) -> None:
        socket: Socket = await open_socket(session, urls_[number % 2], f"churn-{number % 97}")
        await socket.send("Subscribe", {"topics": [f"churn.{number}", "churn.#"]}, id="s")
        while (await socket.wire.receive_json())["type"] != "Ack":
            pass
        if number % 2:
            socket.abort()
        else:
            await socket.close()

    for first in range(0, cycles, AT_ONCE):
        await asyncio.gather(*map(one, range(first, first + AT_ONCE)))


async def test_whoever_comes_and_goes_leaves_nothing_behind(
    cluster: LocalCluster, rabbitmq: Troubled, scale: int
) -> None:
    cycles = CYCLES * scale
    gateways = cluster.of("gateway")

    def connections() -> float:
        return sum(metric(one.ask("/metrics"), "realtime_gateway_connections") for one in gateways)

    async def settled() -> dict[str, int]:
        await eventually(lambda: connections() == 0, 60, "all are gone")
        await nothing_waits(rabbitmq)
        return await asyncio.to_thread(depths, rabbitmq)

    async with http() as session:
        await cycle(session, urls(cluster), WARM_CYCLES)
        queues = await settled()
        memory = {one.node_id: resident([one]) for one in cluster.services}
        held = {one.node_id: open_files(one) for one in cluster.services}
        await cycle(session, urls(cluster), cycles)
        after = await settled()
        grown = {one.node_id: resident([one]) - memory[one.node_id] for one in cluster.services}
    say(
        "F25",
        cycles=cycles,
        **{name: f"{each / cycles:.0f} B/cycle" for name, each in grown.items()},
    )
    assert after.keys() == queues.keys()
    assert {one.node_id: open_files(one) for one in cluster.services} == held
    assert max(grown.values()) / cycles < BYTES_PER_CYCLE
