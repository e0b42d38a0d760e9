"""F8: connections whose other end has vanished without a word are closed, and forgotten."""

import time
from collections import Counter

import pytest

from standalone.local_cluster import LocalCluster
from tests.chaos.bars import SLACK_SECONDS, http, open_files, open_socket, say, urls
from tests.chaos.proxy import Proxy
from tests.support.cluster import Hearing, clients, eventually, free_ports, metric

pytestmark = [pytest.mark.rabbitmq, pytest.mark.bars]

CONNECTIONS = 50
GONE_SECONDS = 45.0


async def test_half_open_connections_are_closed_and_their_users_gone(
    cluster: LocalCluster, scale: int
) -> None:
    gateway, many = cluster.of("gateway")[0], CONNECTIONS * min(scale, 4)
    here, there = urls(cluster)
    [port] = free_ports(1)

    def connections() -> float:
        return metric(gateway.ask("/metrics"), "realtime_gateway_connections")

    async with (
        http() as session,
        Proxy(port, next(iter(cluster.gateway_ports))) as wire,
        clients((there, "watcher")) as (watcher,),
    ):
        await watcher.subscribe("presence.*")
        hearing = Hearing(watcher)

        def seen(status: str) -> int:
            last = {
                one["data"]["user_id"]: one["data"]["status"]
                for one in hearing.heard
                if one["type"] == "Presence"
            }
            return Counter(last.values())[status]

        before, files = connections(), open_files(gateway)
        url = here.replace(here.rpartition(":")[2], f"{port}/ws")
        for number in range(many):
            await open_socket(session, url, f"vanishing{number}")
        await eventually(lambda: seen("online") >= many, 20, "all are online")

        wire.fall_silent()
        began = time.monotonic()
        await eventually(
            lambda: connections() == before, GONE_SECONDS + SLACK_SECONDS, "all are closed"
        )
        closed = time.monotonic() - began
        await eventually(lambda: seen("offline") >= many, 5 + SLACK_SECONDS, "all are offline")
        gone = time.monotonic() - began
        wire.cut()  # the other ends of the wire, which the gateway has closed
        await eventually(lambda: open_files(gateway) <= files, 20, "their sockets are closed")
        hearing.stop()
    say("F8", connections=many, closed=f"{closed:.1f} s", offline=f"{gone:.1f} s")
