"""What back ends are promised also when something else happens at the same time."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession
from prometheus_client import CollectorRegistry

from gateway import answers
from gateway.app import admin_pages, listening, make_node, run_node
from router.commands import RouterOwner
from shared.broker import topology
from shared.messages.envelopes import SubscribersAsked
from shared.partitions import partition_of
from shared.process.admin import admin_server
from shared.settings import load
from shared.trail import Trail
from tests.component.conftest import Start
from tests.component.staging import (
    Stall,
    acknowledging,
    end_reigns,
    payloads,
    place_of,
    topic_of,
    waits_for,
)
from tests.support.api import BackEnd
from tests.support.embedded import SECRET, EmbeddedServer, Gate, Message, Place, Talk, token, until


@pytest.fixture
def ops(place: Place) -> BackEnd:
    return BackEnd(place.client, token("ops", roles=["admin"]))


def notification(to: str, *named: str) -> Message:
    audience = {"to": to, to: named} if named else {"to": to}
    return {"audience": audience, "title": "t", "message": "m"}


def same_partition(count: int) -> list[str]:
    """Return names that one partition serves."""
    names = (f"name{number}" for number in range(100))
    return [one for one in names if partition_of(one, 2) == 0][:count]


# ---- tokens that are revoked ---------------------------------------------------------------------


async def test_a_revoked_token_cannot_take_the_place_of_a_newer_one(
    place: Place, ops: BackEnd
) -> None:
    old = token("alice", iat=time.time() - 100, roles=["admin"])
    await ops.post("/users/alice/disconnect", {"revoke": True})
    alice = await place.connect("alice", permissions={})
    await alice.say("Authenticate", {"token": old})
    while (message := await alice.hear())["type"] != "Error":
        pass
    assert message["data"]["code"] == 403
    assert await alice.closed() == 4403


async def test_a_connection_with_a_newer_token_stays(place: Place, ops: BackEnd) -> None:
    older = await place.connect("bob", iat=time.time() - 100)
    newer = await place.connect("bob", iat=time.time() + 5)
    end = asyncio.create_task(older.hear())
    assert (await ops.post("/users/bob/disconnect", {"revoke": True}))["disconnected"] == 1
    assert (await end)["data"]["code"] == 403
    assert await newer.told() == []


async def test_a_connection_that_is_being_ended_is_given_nothing_more(
    place: Place, ops: BackEnd
) -> None:
    alice = await place.connect("alice")
    await ops.post("/users/bob/disconnect", {"revoke": True})
    with Stall("direct.") as stall:
        bob = await place.connect("bob", iat=time.time() - 50)
        await place.connect("bob", iat=time.time() + 5)
        await alice.say("DirectMessage", {"target_user": "bob", "payload": 1}, id="d")
        await until(lambda: stall.waiting >= 2, "the dismissal waits, and the message behind it")
        stall.open()
        assert (await bob.hear())["data"]["code"] == 403
        assert await bob.closed() == 4403


async def test_nothing_is_taken_up_or_written_after_the_end(place: Place, ops: BackEnd) -> None:
    stuck, open_one = topic_of(0), topic_of(1)
    bob, watcher = await place.people("bob", "watcher")
    await bob.subscribe(open_one)
    await watcher.subscribe(open_one)
    with Stall("router.commands.0") as stall:
        for _ in range(64):
            await bob.say("Broadcast", {"topic": stuck, "payload": 1}, id="x")
        await bob.say("Broadcast", {"topic": open_one, "payload": "too late"})
        await until(lambda: stall.waiting > 0, "the window is full")
        end = asyncio.create_task(bob.hear())
        await ops.post("/users/bob/disconnect")
        assert (await end)["data"]["code"] == 403
        assert (await watcher.broadcast(open_one, "after"))["recipients"] == 1
        stall.open()
    await place.server.forgotten("bob")
    assert payloads(await watcher.told()) == ["after"]


# ---- keys ----------------------------------------------------------------------------------------


async def test_a_key_stands_for_a_message_only_if_that_was_taken(start: Start) -> None:
    place = await start(mailbox_messages=1)
    ops = BackEnd(place.client, token("ops", roles=["admin"]))
    passing = {"target_user": "bob", "payload": 1, "metadata": {"ttl": 0}}
    waiting = {"target_user": "bob", "payload": 2}

    async def sent(body: Message, key: str) -> int:
        response = await ops.call("POST", "/direct-messages", body, **{"Idempotency-Key": key})
        return response.status

    assert [await sent(passing, "a"), await sent(passing, "a")] == [404, 404]
    assert [await sent(waiting, "b"), await sent(waiting, "b")] == [200, 200]
    assert [await sent(waiting, "c"), await sent(waiting, "c")] == [404, 404]  # it is full
    assert waits_for(place, "bob") == 1
    bob = await place.connect("bob")
    await bob.hear()
    assert await sent(waiting, "c") == 200
    assert payloads([await bob.hear()], "DirectMessage") == [2]


async def test_a_key_is_of_one_topic_or_user_also_within_a_partition(
    place: Place, ops: BackEnd
) -> None:
    first, second = same_partition(2)
    one, other = await place.people(first, second)
    await one.subscribe(first, second)
    for name in (first, second):
        await ops.post("/broadcasts", {"topic": name, "payload": name}, key="k")
        await ops.post("/direct-messages", {"target_user": name, "payload": name}, key="k")
    assert payloads(await one.told()) == [first, second]
    assert payloads(await other.told(), "DirectMessage") == [second]


async def test_what_was_sent_to_some_users_only_can_be_repeated_for_the_others(
    place: Place, ops: BackEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = same_partition(2)
    one, other = await place.people(*users)
    link = place.server.node.uplink._presence[0]
    with monkeypatch.context() as patch:
        patch.setattr(link, "_limit", 1)
        body = notification("users", *users)
        response = await ops.call("POST", "/notifications", body, **{"Idempotency-Key": "k"})
    assert response.status == 503
    assert (await response.json())["data"]["details"]["outcome"] == "unknown"
    result = await ops.post("/notifications", body, key="k")
    assert (result["recipients"], result["complete"]) == (2, True)
    assert len(await one.told()) == len(await other.told()) == 1


async def test_a_repeat_reaches_nobody_on_a_gateway_that_has_come_since(
    place: Place, ops: BackEnd
) -> None:
    bob = await place.connect("bob")
    first = await ops.post("/notifications", notification("all"), key="k")
    assert (await bob.hear())["data"]["id"] == first["message_id"]
    async with (
        another_gateway(place) as url,
        ClientSession(url) as session,
        session.ws_connect(f"/ws?token={token('bob')}") as socket,
    ):
        moved = Talk(socket)
        await moved.hear()
        again = await ops.post("/notifications", notification("all"), key="k")
        assert again["message_id"] == first["message_id"]
        assert await moved.told() == []


@asynccontextmanager
async def another_gateway(place: Place) -> AsyncIterator[str]:
    given = {"mode": "development", "host": "127.0.0.1", "port": 0, "partitions": 2}
    settings = load({}, **given, jwt_secret=SECRET, node_id="another")
    trail = Trail("gateway", settings.node_id, time.time_ns)
    node = make_node(settings, place.server.broker, CollectorRegistry(), trail)
    async with listening(node) as clients:
        running = asyncio.create_task(run_node(node))
        await until(lambda: node.membership.ready, "the other gateway is ready")
        yield f"http://127.0.0.1:{clients.port}"
    running.cancel()
    await asyncio.wait([running])


async def test_a_key_outlives_a_takeover_also_after_its_user_was_erased(
    place: Place, ops: BackEnd
) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("chat.a")
    await ops.delete("/users/alice")
    key = {"metadata": {"idempotency_key": "k"}}
    first = await alice.broadcast("chat.a", 1, **key)
    for seat in place.server.router._seats:
        assert seat.reign is not None
        await seat.reign._checkpoint()
    await end_reigns(place, "router")
    again = await alice.broadcast("chat.a", 1, **key)
    assert again["server_message_id"] == first["server_message_id"]
    assert payloads(await bob.told()) == [1]


# ---- counts and deadlines ------------------------------------------------------------------------


async def test_a_notification_that_no_gateway_has_reported_is_neither_complete_nor_queued(
    place: Place, ops: BackEnd
) -> None:
    await place.connect("bob")
    with Stall("direct."):
        result = await ops.post("/notifications", notification("users", "bob"))
    assert (result["recipients"], result["queued"], result["complete"]) == (0, 0, False)


async def test_a_repeat_to_a_client_that_confirms_is_counted_like_the_first(
    place: Place, ops: BackEnd
) -> None:
    await acknowledging(place, "bob")
    first = await ops.post("/notifications", notification("users", "bob"), key="k")
    assert first["recipients"] == 1
    assert await ops.post("/notifications", notification("users", "bob"), key="k") == first


async def test_subscribers_are_counted_once_though_they_are_asked_for_twice(
    place: Place, ops: BackEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = await place.connect("bob")
    await bob.subscribe("chat.a")
    count = RouterOwner._count

    def twice(owner: RouterOwner, queue: str, command: SubscribersAsked) -> None:
        """As a successor does with a batch that comes again."""
        count(owner, queue, command)
        count(owner, queue, command)

    monkeypatch.setattr(RouterOwner, "_count", twice)
    assert (await ops.get("/topics/chat.a/subscribers"))["connections"] == 1


async def test_what_was_not_answered_in_time_may_have_been_done(
    place: Place, ops: BackEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "ANSWER_SECONDS", 0.1)
    with Stall("presence.commands"):
        error = await ops.refused("DELETE", "/users/bob")
    assert (error["code"], error["details"]["outcome"]) == (503, "unknown")


async def test_a_notification_comes_at_once_also_during_a_replay(
    place: Place, ops: BackEnd
) -> None:
    alice, bob = await place.people("alice", "bob")
    await alice.broadcast("chat.a", "missed")
    epoch, _ = await place_of(alice, "chat.a")
    start = {"chat.a": {"epoch": epoch, "offset": 0}}
    with Gate("answers.") as gate:
        await bob.say("Subscribe", {"topics": ["chat.a"], "recover": start}, id="s")
        await gate.held.wait()
        sending = asyncio.create_task(ops.post("/notifications", notification("all")))
        heard = await bob.hear()
        gate.open()
        assert heard["data"]["id"] == (await sending)["message_id"]
    await bob.answers("s")
    assert payloads([await bob.hear()]) == ["missed"]


async def test_news_that_make_no_sense_are_passed_over(place: Place, ops: BackEnd) -> None:
    connection = await place.server.broker.connect("stranger")
    channel = await connection.channel()
    looking = asyncio.create_task(ops.get("/cluster"))
    queues = place.server.broker._queues
    await until(lambda: any(name.startswith("news.overview") for name in queues), "it listens")
    await channel.publish(b"\xc1", topology.fanout_address(topology.FROM_GATEWAYS))
    assert len((await looking)["gateways"]) == 1
    await connection.close()


async def test_a_body_has_the_same_bound_on_the_admin_port() -> None:
    server = EmbeddedServer(api="admin")
    await server.start_server()
    pages = admin_pages(server.node)
    async with (
        admin_server(server.settings, server.registry, lambda: True, pages) as port,
        ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        ops = BackEnd(session, token("ops", roles=["admin"]))
        assert (await ops.post("/notifications", notification("all")))["recipients"] == 0
        body = {**notification("all"), "message": "x" * 300_000}
        assert (await ops.refused("POST", "/notifications", body))["code"] == 413
    await server.close()
