"""F14: whatever routers die, what is said reaches exactly those who want it."""

import asyncio
import random
import time
from dataclasses import dataclass, field

import pytest

from realtime_client import Client, CommandFailed
from shared.topics.pattern import contains, parse_pattern, parse_topic
from standalone.local_cluster import LocalCluster
from tests.chaos.bars import SLACK_SECONDS, say, total, urls
from tests.support.cluster import clients, eventually, url_of

pytestmark = [pytest.mark.rabbitmq, pytest.mark.bars]

CHANGES = 100
"""Requests of each connection."""

CONNECTIONS = 3
"""On each gateway."""

KILLS = 2
TOPICS = 200
SETTLED_SECONDS = 10.0
UNAVAILABLE = 503
WORDS = ("a", "b", "c", "d")
SEED = 14


def a_topic(rng: random.Random) -> str:
    return ".".join(["f14", *(rng.choice(WORDS) for _ in range(rng.randint(1, 4)))])


def a_pattern(rng: random.Random) -> str:
    """Return a topic, or one of which some words may be anything."""
    words = a_topic(rng).split(".")
    for at in range(1, len(words)):
        if rng.random() < 0.2:
            words[at] = "*"
    return ".".join([*words, "#"] if rng.random() < 0.15 else words)


@dataclass
class Fickle:
    """Somebody who wants something else all the time, and what they want now."""

    client: Client
    rng: random.Random
    wants: set[str] = field(default_factory=set)
    changes: int = 0
    refused: int = 0

    async def change(self, times: int) -> None:
        """Change one's mind so often."""
        for _ in range(times):
            self.changes += 1
            some = {a_pattern(self.rng) for _ in range(self.rng.randint(1, 5))}
            some |= set(self.rng.sample(sorted(self.wants), min(2, len(self.wants))))
            try:
                if self.rng.random() < 0.5:
                    await self.client.subscribe(*some)
                    self.wants |= some
                else:
                    await self.client.unsubscribe(*some)
                    self.wants -= some
            except CommandFailed as error:  # then nothing has changed (T9)
                if error.code != UNAVAILABLE:
                    raise
                self.refused += 1


def wanting(everybody: list[Fickle], topic: str) -> int:
    """Return how many want a topic."""
    words = parse_topic(topic)
    return sum(
        any(contains(parse_pattern(pattern), words) for pattern in one.wants) for one in everybody
    )


async def kill_routers(cluster: LocalCluster, everybody: list[Fickle], changes: int) -> float:
    """Kill one router after the other, at equal distances; return when the last one died."""
    routers, died = cluster.of("router"), 0.0
    for number in range(1, KILLS + 1):
        share = changes * number // (KILLS + 1)
        await eventually(
            lambda most=share: sum(one.changes for one in everybody) >= most,  # type: ignore[misc]
            300,
            "minds change",
        )
        victim = max(routers, key=lambda one: total([one], "realtime_router_partitions"))
        victim.kill()
        died = time.monotonic()
        victim.start()
        await eventually(lambda one=victim: one.ready, 60, "it is back")  # type: ignore[misc]
    return died


async def wrong(asker: Client, everybody: list[Fickle], topics: list[str]) -> dict[str, str]:
    """Return the topics that do not reach exactly those who want them."""
    found = {}
    for topic in topics:
        ack, expected = await asker.broadcast(topic, {}), wanting(everybody, topic)
        if ack["recipients"] != expected:
            found[topic] = f"{ack['recipients']} ({ack['status']}) instead of {expected}"
    return found


async def test_after_kills_the_routers_know_what_the_gateways_want(
    cluster: LocalCluster, scale: int
) -> None:
    rng = random.Random(SEED)  # noqa: S311 - to be repeated
    places = [
        (url_of(cluster, number % 2), f"fickle-{number}")
        for number in range(CONNECTIONS * len(urls(cluster)))
    ]
    changes = CHANGES * scale
    async with (
        clients(*places) as connected,
        clients((url_of(cluster, 0), "asker")) as (asker,),
    ):
        everybody = [Fickle(client, random.Random(rng.random())) for client in connected]  # noqa: S311
        killing = asyncio.create_task(kill_routers(cluster, everybody, changes * len(everybody)))
        await asyncio.gather(*(one.change(changes) for one in everybody))
        died = await killing
        ended = time.monotonic()

        topics = [a_topic(rng) for _ in range(TOPICS)]
        deadline = max(died + SETTLED_SECONDS, ended) + SLACK_SECONDS
        while found := await wrong(asker, everybody, topics):
            assert time.monotonic() < deadline, found
        say(
            "F14",
            changes=sum(one.changes for one in everybody),
            refused=sum(one.refused for one in everybody),
            kills=KILLS,
            exact_after=f"{time.monotonic() - died:.1f} s after the last kill",
            reached=sum(wanting(everybody, topic) for topic in topics),
        )

        # Nobody is given what they do not want any more, once the routers are sure again.
        await asyncio.gather(*(one.client.unsubscribe(*one.wants) for one in everybody))
        async with asyncio.timeout(15 + SLACK_SECONDS):
            while (await asker.broadcast(topics[0], {}))["status"] != "delivered":  # noqa: ASYNC110
                await asyncio.sleep(0.2)  # no event tells a client
        gateways = cluster.of("gateway")
        name = 'realtime_gateway_batches_total{service="router"}'
        for topic in topics:
            assert (await asker.broadcast(topic, {}))["recipients"] == 0
        before = total(gateways, name)
        for topic in topics:
            assert (await asker.broadcast(topic, {}))["status"] == "delivered"
        assert total(gateways, name) == before, "interest is left behind"
