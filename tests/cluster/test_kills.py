"""Any process may die at any moment: sockets stay open and service resumes by itself."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from realtime_client import Client, CommandFailed
from standalone.local_cluster import LocalCluster, Service
from standalone.private_rabbitmq import PrivateRabbitMQ
from tests.support.cluster import Hearing, clients, eventually, metric, url_of

pytestmark = pytest.mark.rabbitmq

UNAVAILABLE = 503
ANSWER_SECONDS = 5.0
SLACK_SECONDS = 2.0
"""What a busy machine may add to the client's own measurement of an answer."""

RESUME_SECONDS = 15.0

Say = Callable[[int], Awaitable[Any]]


class Talk:
    """Commands sent without pause; each is answered with its result or a 503, in time."""

    def __init__(self, say: Say) -> None:
        self.slowest = 0.0
        self.results: list[tuple[float, Any]] = []
        self._say = say
        self._stopping = False
        self._task = asyncio.create_task(self._talk())

    async def _talk(self) -> None:
        number = 0
        while not self._stopping:
            number += 1
            began = time.monotonic()
            try:
                result = await self._say(number)
            except CommandFailed as error:
                if error.code != UNAVAILABLE:
                    raise
                result = None
                await asyncio.sleep(0.02)
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.results.append((time.monotonic(), result))

    async def resumed(self, since: float) -> float:
        """Wait for 20 good answers in a row after a moment; return how long they took to come."""

        def good() -> bool:
            last = [result for at, result in self.results[-20:] if at > since]
            return len(last) == 20 and all(last)

        return await eventually(good, RESUME_SECONDS + SLACK_SECONDS, "service resumes")

    async def stop(self) -> None:
        """End the talk, and fail if a command was answered wrongly or too late."""
        self._stopping = True
        await self._task
        assert self.slowest < ANSWER_SECONDS + SLACK_SECONDS


def owner_of(services: list[Service], name: str) -> Service:
    """Return the replica that serves most partitions."""
    return max(services, key=lambda one: metric(one.ask("/metrics"), name))


async def talk_while(
    cluster: LocalCluster, trouble: Callable[[], Awaitable[None]]
) -> tuple[list[Client], Hearing]:
    """Broadcast and send direct messages across two gateways while trouble strikes."""
    places = [(url_of(cluster, 0), "speaker"), (url_of(cluster, 1), "listener")]
    async with clients(*places) as (speaker, listener):
        await listener.subscribe("kill.topic")
        hearing = Hearing(listener)

        async def broadcast(number: int) -> bool:
            ack = await speaker.broadcast("kill.topic", number)
            return bool(ack["recipients"] == 1)

        async def message(number: int) -> bool:
            ack = await speaker.direct_message("listener", number)
            return bool(ack["status"] == "delivered")

        talks = [Talk(broadcast), Talk(message)]
        await asyncio.gather(*(talk.resumed(0) for talk in talks))
        since = time.monotonic()
        await trouble()
        await asyncio.gather(*(talk.resumed(since) for talk in talks))
        await asyncio.gather(*(talk.stop() for talk in talks))
        assert (await speaker.ping(1))["timestamp"] == 1
        assert (await listener.ping(2))["timestamp"] == 2
        for kind in ("Broadcast", "DirectMessage"):
            payloads = hearing.payloads(kind)
            assert len(payloads) == len(set(payloads)), f"{kind} doubled"
            assert payloads == sorted(payloads), f"{kind} out of order"
        hearing.stop()
        return [speaker, listener], hearing


@pytest.mark.parametrize(
    ("module", "metric_name"),
    [
        ("router", "realtime_router_partitions"),
        ("presence_service", "realtime_presence_partitions"),
    ],
)
async def test_a_killed_owner_is_replaced_and_every_command_is_answered(
    cluster: LocalCluster, module: str, metric_name: str
) -> None:
    victim = owner_of(cluster.of(module), metric_name)

    async def kill() -> None:
        victim.kill()

    try:
        await talk_while(cluster, kill)
    finally:
        victim.start()
        await asyncio.to_thread(cluster.wait_ready)


async def test_a_killed_rabbitmq_that_returns_is_used_again_and_no_socket_is_closed(
    cluster: LocalCluster, rabbitmq: PrivateRabbitMQ
) -> None:
    async def kill_and_restart() -> None:
        await asyncio.to_thread(rabbitmq.kill)
        await asyncio.to_thread(rabbitmq.restart)

    await talk_while(cluster, kill_and_restart)


async def sure(client: Client) -> None:
    """Wait until the routers know all nodes again, after RabbitMQ was restarted."""
    async with asyncio.timeout(RESUME_SECONDS + SLACK_SECONDS):
        while (await client.broadcast("any.topic", {}))["status"] != "delivered":  # noqa: ASYNC110
            await asyncio.sleep(0.2)  # no event tells a client


async def test_a_gateway_that_stops_says_so_and_its_users_have_the_grace_to_return(
    cluster: LocalCluster,
) -> None:
    places = [(url_of(cluster, 0), "watcher"), (url_of(cluster, 1), "mover")]
    leaver = cluster.of("gateway")[1]
    async with clients(*places) as (watcher, mover):
        await watcher.subscribe("presence.mover", "presence.homeless")
        await mover.subscribe("moving.topic")
        await sure(watcher)
        hearing = Hearing(watcher)
        async with clients((url_of(cluster, 1), "homeless")):
            await hearing.until(lambda one: one["data"].get("user_id") == "homeless")
            await asyncio.to_thread(leaver.stop)
            assert await mover.closed == 1001
            try:
                ack = await watcher.broadcast("moving.topic", {})
                assert (ack["status"], ack["recipients"]) == ("delivered", 0)
                async with clients((url_of(cluster, 0), "mover")):
                    gone = await hearing.until(lambda one: one["data"].get("status") == "offline")
                    assert gone["data"]["user_id"] == "homeless"
            finally:
                hearing.stop()
                leaver.start()
                await asyncio.to_thread(cluster.wait_ready)


async def test_a_killed_gateways_users_are_offline_and_its_interest_is_gone(
    cluster: LocalCluster,
) -> None:
    places = [(url_of(cluster, 0), "watcher"), (url_of(cluster, 1), "doomed")]
    victim = cluster.of("gateway")[1]
    async with clients(*places) as (watcher, doomed):
        await watcher.subscribe("presence.doomed")
        await doomed.subscribe("doomed.topic")
        hearing = Hearing(watcher)
        await hearing.until(lambda one: one["data"].get("status") == "online")
        victim.kill()
        try:
            offline = await hearing.until(
                lambda one: one["data"].get("status") == "offline", RESUME_SECONDS
            )
            assert offline["data"]["user_id"] == "doomed"
            ack = await watcher.broadcast("doomed.topic", {})
            assert (ack["status"], ack["recipients"]) == ("delivered", 0)
            ack = await watcher.direct_message("doomed", {})
            assert ack["status"] == "queued"
        finally:
            hearing.stop()
            victim.start()
            await asyncio.to_thread(cluster.wait_ready)
