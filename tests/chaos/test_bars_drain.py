"""F2: a gateway that stops sends its clients away evenly, and the next one takes them all in."""

import asyncio
import statistics
import time
from collections import Counter
from dataclasses import dataclass

import aiohttp
import pytest

from standalone.local_cluster import LocalCluster
from tests.chaos.bars import NotWelcome, Socket, close_all, http, open_socket, say, urls
from tests.support.cluster import Hearing, clients, eventually

pytestmark = [pytest.mark.rabbitmq, pytest.mark.bars]

CONNECTIONS = 1_000
AT_ONCE = 50
MOST_HANDSHAKES = 500
CONNECT_SECONDS = 2.0


@dataclass
class Move:
    """How one client came from the stopping gateway to the other."""

    code: int | None
    closed_at: float
    connected_at: float
    connect_seconds: float
    socket: Socket


async def move(session: aiohttp.ClientSession, socket: Socket, there: str) -> Move:
    """Wait to be sent away; come back, elsewhere, at the moment that was said."""
    error = await socket.wire.receive_json()
    await socket.wire.receive()
    closed_at = time.monotonic()
    await asyncio.sleep(error["data"]["details"]["reconnect_after_ms"] / 1000)
    began = time.monotonic()
    while True:
        try:
            back = await open_socket(session, there, socket.user)
        except NotWelcome:
            continue
        now = time.monotonic()
        return Move(socket.wire.close_code, closed_at, now, now - began, back)


def busiest_second(moments: list[float]) -> int:
    """Return the most that fell into one second."""
    return max(Counter(int(at) for at in moments).values())


async def test_all_are_sent_away_evenly_and_taken_in_elsewhere_and_nobody_is_offline(
    cluster: LocalCluster, scale: int
) -> None:
    here, there = urls(cluster)
    leaver = cluster.of("gateway")[0]
    users = [f"mover-{number}" for number in range(CONNECTIONS * scale)]
    async with http() as session, clients((there, "watcher")) as (watcher,):
        gate = asyncio.Semaphore(AT_ONCE)

        async def come(user: str) -> Socket:
            async with gate:
                return await open_socket(session, here, user)

        sockets = await asyncio.gather(*(come(user) for user in users))
        await watcher.subscribe("presence.*")
        hearing = Hearing(watcher)
        moving = [asyncio.create_task(move(session, one, there)) for one in sockets]
        stopping = asyncio.create_task(asyncio.to_thread(leaver.stop))
        await eventually(lambda: not leaver.ready, 5, "it is not ready")
        moves = await asyncio.gather(*moving)
        assert await stopping == 0
        try:
            closes = [one.closed_at for one in moves]
            mean = len(moves) / (max(closes) - min(closes))
            returns = busiest_second([one.connected_at for one in moves])
            p99 = statistics.quantiles([one.connect_seconds for one in moves], n=100)[-1]
            offline = [one for one in hearing.heard if one["data"].get("status") == "offline"]
            say(
                "F2",
                connections=len(moves),
                seconds=f"{max(closes) - min(closes):.1f}",
                mean=f"{mean:.0f}/s",
                busiest_second_of_closes=busiest_second(closes),
                busiest_second_of_returns=returns,
                p99_connect=f"{p99:.2f} s",
                offline=len(offline),
            )
            assert {one.code for one in moves} == {1012}
            assert busiest_second(closes) <= 2 * mean
            assert returns <= MOST_HANDSHAKES
            assert p99 < CONNECT_SECONDS
            assert not offline
        finally:
            hearing.stop()
            leaver.start()
            await asyncio.to_thread(cluster.wait_ready)
            await close_all([one.socket for one in moves])
