"""Any process may die at any moment: sockets stay open and service resumes by itself."""

import asyncio

import pytest

from realtime_client import Client
from standalone.local_cluster import LocalCluster, Service
from tests.support.broker import Troubled
from tests.support.cluster import Hearing, clients, metric, url_of
from tests.support.talk import RESUME_SECONDS, SLACK_SECONDS, talk_while

pytestmark = pytest.mark.rabbitmq


def owner_of(services: list[Service], name: str) -> Service:
    """Return the replica that serves most partitions."""
    return max(services, key=lambda one: metric(one.ask("/metrics"), name))


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
    cluster: LocalCluster, rabbitmq: Troubled
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
            assert await mover.closed == 1012
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
