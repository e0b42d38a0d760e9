"""F7: whatever comes, goes and is killed, presence counts the sockets that are open; no more."""

import asyncio
import random
import time
from collections import defaultdict
from dataclasses import dataclass, field

import aiohttp
import pytest

from realtime_client import Client, CommandFailed
from standalone.local_cluster import LocalCluster
from tests.chaos.bars import (
    SLACK_SECONDS,
    NotWelcome,
    Socket,
    close_all,
    http,
    open_socket,
    say,
    total,
    urls,
)
from tests.support.cluster import Hearing, clients, eventually, url_of

pytestmark = [pytest.mark.rabbitmq, pytest.mark.bars]

CYCLES = 1_000
LANES = 20
USERS = 300
STAY = 0.1
"""The share of connections that are not closed."""

KILLS = (1, 0, 1)
"""Gateways, in this order; the last one stays dead until all is judged."""

PHANTOM_SECONDS = 15.0
GRACE_SECONDS = 5.0
QUIET_SECONDS = 1.0
GONE_CHECKED = 50

FORMER = 100
FORMER_SECONDS = 2.0
SEED = 7


@dataclass
class Churn:
    """Users who come and go all the time, on whatever gateway there is."""

    cluster: LocalCluster
    session: aiohttp.ClientSession
    cycles: int
    rng: random.Random = field(default_factory=lambda: random.Random(SEED))  # noqa: S311
    done: int = 0
    stayed: list[Socket] = field(default_factory=list)
    users: set[str] = field(default_factory=set)
    killed_at: float = 0.0

    async def run(self) -> None:
        """Go through all cycles and kills."""
        lanes = (self._lane(lane) for lane in range(LANES))
        await asyncio.gather(*lanes, *(self._kill(n) for n in range(len(KILLS))))

    @property
    def live(self) -> dict[str, set[str]]:
        """The connections that are open, by user."""
        found: dict[str, set[str]] = defaultdict(set)
        for one in self.stayed:
            if one.is_open:
                found[one.user].add(one.connection_id)
        return dict(found)

    async def _lane(self, lane: int) -> None:
        while self.done < self.cycles:
            self.done += 1
            socket = await self._come(f"user-{self.rng.randrange(USERS)}", lane + self.done)
            socket.listen()
            if self.rng.random() < STAY:
                self.stayed.append(socket)
            elif self.rng.random() < 0.5:
                await socket.close()
            else:
                socket.abort()

    async def _come(self, user: str, gateway: int) -> Socket:
        self.users.add(user)
        while True:
            gateway += 1
            try:
                return await open_socket(self.session, url_of(self.cluster, gateway % 2), user)
            except NotWelcome:
                await asyncio.sleep(0.1)

    async def _kill(self, number: int) -> None:
        share = self.cycles * (number + 1) // (len(KILLS) + 1)
        await eventually(lambda: self.done >= share, 600, "the churn goes on")
        victim = self.cluster.of("gateway")[KILLS[number]]
        victim.kill()
        self.killed_at = time.monotonic()
        if number < len(KILLS) - 1:
            victim.start()
            await eventually(lambda: victim.ready, 60, "the gateway is back")


def online(hearing: Hearing) -> set[str]:
    """Return who is online by what was heard."""
    last = {
        one["data"]["user_id"]: one["data"]["status"]
        for one in hearing.heard
        if one["type"] == "Presence"
    }
    return {user for user, status in last.items() if status != "offline"}


async def snapshot(url: str, at_least: set[str], seconds: float = 20) -> set[str]:
    """Return whom a new watcher is told of: those, and whoever else is told with them."""
    async with clients((url, "watcher")) as (watcher,):
        hearing = Hearing(watcher)
        await watcher.subscribe("presence.*")
        await eventually(lambda: online(hearing) >= at_least, seconds, "all live are told")
        await asyncio.sleep(QUIET_SECONDS)  # a snapshot has no end that could be awaited
        hearing.stop()
        return online(hearing)


async def is_gone(asker: Client, user: str) -> bool:
    """Whether a message that may not wait finds nobody."""
    try:
        await asker.direct_message(user, "anybody?", {"ttl": 0})
    except CommandFailed as error:
        return error.code == 404 and error.details["queued"] is False
    return False


async def test_after_cycles_and_kills_presence_is_who_is_there(
    cluster: LocalCluster, scale: int
) -> None:
    gateways = cluster.of("gateway")
    async with http() as session:
        churn = Churn(cluster, session, CYCLES * scale)
        try:
            await churn.run()
            ended = time.monotonic()
            here = urls(cluster)[0]
            async with clients((here, "watcher")) as (watcher,):
                hearing = Hearing(watcher)
                await watcher.subscribe("presence.*")
                expected = {*churn.live, "watcher"}
                deadline = max(churn.killed_at + PHANTOM_SECONDS, ended + GRACE_SECONDS)
                left = deadline - time.monotonic() + SLACK_SECONDS
                await eventually(lambda: online(hearing) == expected, left, "no phantom is told")
                took = time.monotonic() - churn.killed_at
                hearing.stop()
                say(
                    "F7",
                    cycles=churn.done,
                    kills=len(KILLS),
                    live=len(expected) - 1,
                    exact_after_the_last_kill=f"{took:.1f} s",
                )
                assert await snapshot(here, expected) == expected

                for user, connections in churn.live.items():
                    ack = await watcher.direct_message(user, "how many are you?")
                    assert set(ack["delivered_to"]) == connections, user
                gone = sorted(churn.users - churn.live.keys())[:GONE_CHECKED]
                assert all([await is_gone(watcher, user) for user in gone])

                sockets = sum(map(len, churn.live.values())) + 1
                await eventually(
                    lambda: total(gateways, "realtime_gateway_connections") == sockets,
                    10,
                    "the gateway counts the live sockets",
                )
                for router in cluster.of("router"):
                    assert total([router], "realtime_router_nodes") == 1

                victim = gateways[KILLS[-1]]
                victim.start()
                await asyncio.to_thread(cluster.wait_ready)
                assert await snapshot(urls(cluster)[1], expected) == expected
                for router in cluster.of("router"):
                    assert total([router], "realtime_router_nodes") == 2
        finally:
            await close_all(churn.stayed)


async def test_a_gateway_that_is_restarted_at_once_keeps_none_of_its_former_connections(
    cluster: LocalCluster, scale: int
) -> None:
    here, there = urls(cluster)
    victim = cluster.of("gateway")[1]
    users = [f"lost-{number}" for number in range(FORMER * scale)]
    async with http() as session, clients((here, "asker")) as (asker,):
        lost = await asyncio.gather(*(open_socket(session, there, user) for user in users))
        victim.kill()
        victim.start()
        await eventually(lambda: victim.ready, 60, "the gateway is back")
        ready = time.monotonic()
        for user in users:
            while not await is_gone(asker, user):
                assert time.monotonic() - ready < FORMER_SECONDS + SLACK_SECONDS, user
        say("F7", former=len(users), gone_after_ready=f"{time.monotonic() - ready:.1f} s")
        await close_all(lost)
