"""What back ends do through one gateway concerns people on every gateway."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import ClientSession

from realtime_client import Client
from standalone.local_cluster import LocalCluster
from standalone.tokens import development_token
from tests.support.api import BackEnd
from tests.support.broker import Troubled
from tests.support.cluster import Hearing, balanced, clients, make_cluster, url_of

pytestmark = pytest.mark.rabbitmq

REVOKED_SECONDS = 2.0
SLACK_SECONDS = 2.0
"""What a busy machine may add."""


@pytest.fixture(scope="module")
def cluster(rabbitmq: Troubled, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Two gateways, two routers, two presence services; the API on the clients' ports."""
    logs = tmp_path_factory.mktemp("logs")
    with make_cluster(rabbitmq.url, logs, REALTIME_API="public") as running:
        yield running


@pytest.fixture
async def ops(cluster: LocalCluster) -> AsyncIterator[BackEnd]:
    url = url_of(cluster, 0).replace("ws://", "http://").removesuffix("/ws")
    async with ClientSession(url) as session:
        yield BackEnd(session, development_token("ops", claims={"roles": ["admin"]}))


def places(cluster: LocalCluster, *users: str) -> list[tuple[str, str]]:
    """Put people on the gateways in turn."""
    return [(url_of(cluster, number % 2), user) for number, user in enumerate(users)]


async def test_a_notification_reaches_people_on_both_gateways_and_is_counted(
    cluster: LocalCluster, ops: BackEnd
) -> None:
    async with clients(*places(cluster, "alice", "bob", "carol")) as people:
        heard = [Hearing(one) for one in people]
        await people[1].subscribe("news")
        said = {"title": "Soon", "message": "x"}
        everybody = await ops.post("/notifications", {"audience": {"to": "all"}, **said})
        to_topics = {"to": "topics", "topics": ["news"]}
        subscribers = await ops.post("/notifications", {"audience": to_topics, **said})
        to_users = {"to": "users", "users": ["carol", "dave"]}
        users = await ops.post("/notifications", {"audience": to_users, **said, "ttl": 60})
        assert (everybody["recipients"], subscribers["recipients"]) == (3, 1)
        assert (users["recipients"], users["queued"]) == (1, 1)
        for hearing, expected in zip(
            heard, ([everybody], [everybody, subscribers], [everybody, users]), strict=True
        ):
            for one in expected:
                wanted = one["message_id"]
                await hearing.until(lambda got, w=wanted: got["data"].get("id") == w)
            assert len(hearing.heard) == len(expected)
            hearing.stop()


async def test_people_and_subscribers_of_both_gateways_are_told_of(
    cluster: LocalCluster, ops: BackEnd
) -> None:
    async with clients(*places(cluster, "erin", "erin", "frank")) as (one, other, frank):
        for client in (one, other, frank):
            await client.subscribe("rooms.blue")
        found = await ops.get("/users/erin/connections")
        nodes = {place["node_id"] for place in found["connections"]}
        assert (len(found["connections"]), len(nodes)) == (2, 2)
        subscribers = await ops.get("/topics/rooms.blue/subscribers")
        assert subscribers["users"] == [
            {"user_id": "erin", "connections": 2},
            {"user_id": "frank", "connections": 1},
        ]
        assert subscribers["complete"] is True
        await frank.broadcast("rooms.blue", "hi")
        page = await ops.get("/topics/rooms.blue/history")
        assert [message["data"]["payload"] for message in page["messages"]] == ["hi"]


async def test_a_user_is_ended_and_revoked_on_every_gateway_within_two_seconds(
    cluster: LocalCluster, ops: BackEnd
) -> None:
    users = ["mallory"] * 10
    async with clients(*places(cluster, *users)) as connected:
        began = time.monotonic()
        result = await ops.post("/users/mallory/disconnect", {"revoke": True})
        codes = await asyncio.gather(*(_end_of(client) for client in connected))
        took = time.monotonic() - began
    assert (result["disconnected"], result["complete"]) == (10, True)
    assert set(codes) == {4403}
    assert took < REVOKED_SECONDS + SLACK_SECONDS


async def _end_of(client: Client) -> int:
    async with asyncio.timeout(20):
        return await asyncio.shield(client.closed)


async def test_what_is_kept_of_a_user_is_erased_in_every_partition(
    cluster: LocalCluster, ops: BackEnd
) -> None:
    async with clients(*places(cluster, "grace", "heidi")) as (grace, heidi):
        topics = [f"walls.{number}" for number in range(20)]
        for topic in topics:
            await grace.broadcast(topic, "hers")
            await heidi.broadcast(topic, "stays")
        for number in range(20):
            await grace.direct_message(f"absent{number}", "hers")
        assert (await ops.delete("/users/grace"))["messages"] == 40
        for topic in topics:
            page = await ops.get(f"/topics/{topic}/history")
            assert [one["data"]["payload"] for one in page["messages"]] == ["stays"]
            assert (page["offset"], page["complete"]) == (2, True)


async def test_the_whole_cluster_is_told_of(cluster: LocalCluster, ops: BackEnd) -> None:
    for service in ("router", "presence_service"):
        await balanced(cluster, service)
    state = await ops.get("/cluster")
    assert len(state["gateways"]) == 2
    assert sorted(one["service"] for one in state["replicas"]) == sorted(["router", "presence"] * 2)
    assert all(len(one["partitions"]) == 8 for one in state["replicas"])
    assert state["unserved"] == {"router": [], "presence": []}
