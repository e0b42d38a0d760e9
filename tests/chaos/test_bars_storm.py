"""F3 and F20: everybody comes back at once, and everybody subscribes at once."""

import asyncio
import random
import time

import aiohttp
import pytest

from standalone.local_cluster import LocalCluster
from tests.chaos.bars import (
    NotWelcome,
    Socket,
    close_all,
    http,
    nothing_waits,
    open_socket,
    resident,
    say,
    urls,
)
from tests.support.broker import Troubled
from tests.support.cluster import metric

pytestmark = [pytest.mark.rabbitmq, pytest.mark.bars]

CLIENTS = 1000
TOPICS = 100
BACK_SECONDS = 30.0
SPREAD_SECONDS = 2.0
"""Clients come back after a random time, as they should, that doubles with each refusal."""

MEMORY = 1.5
LAG_SECONDS = 0.25


async def come(session: aiohttp.ClientSession, url: str, number: int) -> Socket:
    """Connect, again and again after pauses, and subscribe to what was held before."""
    pause = SPREAD_SECONDS
    while True:
        await asyncio.sleep(random.random() * pause)  # noqa: S311 - no secret
        try:
            socket = await open_socket(session, url, f"storm-{number}")
        except NotWelcome:
            pause *= 2
        else:
            await subscribed(socket, [f"storm.{number % 50}", f"own.{number}"])
            return socket


async def subscribed(socket: Socket, topics: list[str]) -> float:
    """Subscribe; return how long it took."""
    began = time.monotonic()
    await socket.send("Subscribe", {"topics": topics}, id="s")
    async with asyncio.timeout(BACK_SECONDS):
        while (heard := await socket.wire.receive_json())["type"] != "Ack":
            assert heard["type"] != "Error", heard
    return time.monotonic() - began


def slow_turns(text: str | None) -> tuple[float, float]:
    """Return how often the event loop was looked at, and how often it came no later than due."""
    name = "realtime_event_loop_lag_seconds"
    return metric(text, f"{name}_count"), metric(text, f'{name}_bucket{{le="{LAG_SECONDS}"}}')


async def test_a_thousand_clients_are_back_with_their_subscriptions_within_half_a_minute(
    cluster: LocalCluster, rabbitmq: Troubled, scale: int
) -> None:
    gateways, there = cluster.of("gateway"), urls(cluster)
    many = CLIENTS * scale
    async with http() as session:
        everybody = range(many)
        sockets = await asyncio.gather(*(come(session, there[n % 2], n) for n in everybody))
        steady = resident(gateways)
        looks = [slow_turns(one.ask("/metrics")) for one in gateways]

        for socket in sockets:
            socket.abort()
        began = time.monotonic()
        sockets = await asyncio.gather(*(come(session, there[n % 2], n) for n in everybody))
        back = time.monotonic() - began
        grown = resident(gateways) / steady
        since = [
            (now - before, quick - quick_before)
            for (before, quick_before), (now, quick) in zip(
                looks, [slow_turns(one.ask("/metrics")) for one in gateways], strict=True
            )
        ]
        await nothing_waits(rabbitmq)
        await close_all(sockets)
    in_time = min(quick / max(now, 1) for now, quick in since)
    say("F3", clients=many, back=f"{back:.1f} s", memory=f"{grown:.2f}", in_time=f"{in_time:.3f}")
    assert back < BACK_SECONDS
    assert grown < MEMORY
    assert in_time >= 0.99


async def test_all_subscribe_to_a_hundred_topics_in_one_burst_and_none_is_kept_waiting(
    cluster: LocalCluster, rabbitmq: Troubled, scale: int
) -> None:
    there, many = urls(cluster), CLIENTS * scale
    async with http() as session:
        sockets = [
            await open_socket(session, there[number % 2], f"burst-{number}")
            for number in range(many)
        ]
        began = time.monotonic()
        took = sorted(
            await asyncio.gather(
                *(
                    subscribed(socket, [f"burst.{number}.{topic}" for topic in range(TOPICS)])
                    for number, socket in enumerate(sockets)
                )
            )
        )
        whole = time.monotonic() - began
        await nothing_waits(rabbitmq)
        await close_all(sockets)
    say("F20", clients=many, whole=f"{whole:.1f} s", p99=f"{took[len(took) * 99 // 100]:.2f} s")
    assert whole < BACK_SECONDS
