"""How much clients may ask, and how many may come (W13 to W15)."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import ClientResponse, WSMsgType

from gateway.core import limits
from gateway.performer import WINDOW
from tests.component.conftest import Start
from tests.component.test_handshake import HOME, UPGRADE
from tests.support.embedded import Gate, Message, Place, Talk, token, until

TOO_MUCH = 429
FLOODED = 4429


async def heard(talk: Talk, number: int) -> list[Message]:
    """Return the data of so many Errors and Acks, which are all that comes."""
    told = await talk.hears(number)
    assert {one["type"] for one in told} <= {"Ack", "Error"}
    return [one["data"] for one in told]


def ping(number: int) -> str:
    return json.dumps({"type": "Presence", "data": {"status": "away"}, "id": f"c{number}"})


# ---- what a connection may ask -------------------------------------------------------------------


async def test_the_welcome_tells_the_limits(start: Start) -> None:
    place = await start(
        max_messages_per_second=7,
        max_bytes_per_second=9000,
        max_address_connections=30,
        max_handshakes_per_second=5,
    )

    [alice] = await place.people("alice")

    told = alice.welcome["limits"]
    assert (told["messages_per_second"], told["bytes_per_second"]) == (7, 9000)
    assert (told["user_connections"], told["topics_per_request"], told["depth"]) == (20, 100, 32)
    assert (told["address_connections"], told["handshakes_per_second"]) == (30, 5)
    assert told["node_connections"] == 10_000
    assert "user_messages_per_second" not in told  # in development there is none


async def test_what_is_too_much_is_refused_with_the_time_to_wait_and_done_not_at_all(
    start: Start,
) -> None:
    place = await start(max_messages_per_second=10)
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("chat")

    for number in range(60):
        await alice.say("Broadcast", {"topic": "chat", "payload": number}, id=f"m{number}")
    told = {
        one.get("message_id") or one["details"]["message_id"]: one for one in await heard(alice, 60)
    }

    refused = {name for name, one in told.items() if one.get("code") == TOO_MUCH}
    assert len(told) == 60
    assert all(told[name]["details"]["retry_after_ms"] > 0 for name in refused)
    given = [one["data"]["payload"] for one in await bob.hears(60 - len(refused))]
    assert {f"m{number}" for number in given} == told.keys() - refused
    assert 20 <= len(given) < 60
    assert not await bob.told()


async def test_after_the_time_to_wait_the_same_id_may_be_tried_again(start: Start) -> None:
    place = await start(max_messages_per_second=10)
    [alice] = await place.people("alice")
    for _ in range(25):
        await alice.say("Presence", {"status": "away"})
    refused = await alice.refused("Broadcast", {"topic": "chat", "payload": 1}, id="again")

    await asyncio.sleep(refused["details"]["retry_after_ms"] / 1000)

    assert (await alice.broadcast("chat", 1, id="again"))["status"] == "delivered"


async def test_each_operation_of_a_batch_and_each_topic_counts(start: Start) -> None:
    place = await start(max_messages_per_second=10)
    alice, bob = await place.people("alice", "bob")
    operation = {"type": "Broadcast", "data": {"topic": "chat", "payload": 1}}

    summary = (await alice.ask("Batch", {"operations": [operation] * 30}))[-1]["data"]
    assert summary["failed"] >= 5

    await bob.subscribe(*(f"topic.{number}" for number in range(20)))
    assert (await bob.refused("Subscribe", {"topics": ["a", "b", "c", "d"]}))["code"] == TOO_MUCH


async def test_bytes_count_too_and_the_largest_message_may_always_come(start: Start) -> None:
    place = await start(max_bytes_per_second=1000, max_binary_bytes=100_000)
    [alice] = await place.people("alice")

    assert (await alice.broadcast("chat", "x" * 60_000))["status"] == "delivered"
    refused = await alice.refused("Broadcast", {"topic": "chat", "payload": "x" * 60_000})

    assert refused["code"] == TOO_MUCH
    assert "bytes" in refused["message"]


async def test_connections_of_a_user_share_what_the_user_may_ask(start: Start) -> None:
    place = await start(max_user_messages_per_second=10)
    one, other, bob = await place.people("alice", "alice", "bob")
    for number in range(20):
        await one.raw(ping(number))
    await heard(one, 20)

    codes = {
        (await other.ask("Presence", {"status": "away"}))[-1]["data"].get("code") for _ in range(9)
    }

    assert TOO_MUCH in codes
    assert (await bob.ask("Presence", {"status": "away"}))[-1]["type"] == "Ack"


async def test_in_development_nobody_is_held_up(place: Place) -> None:
    [alice] = await place.people("alice")
    for number in range(1000):
        await alice.raw(ping(number))

    assert not [one for one in await heard(alice, 1000) if "code" in one]


# ---- floods --------------------------------------------------------------------------------------


async def flood(talk: Talk, send: Any) -> tuple[list[Message], int | None]:
    """Go on sending until the socket is closed; return what was heard, and the code."""

    async def speak() -> None:
        while not talk.socket.closed:
            for _ in range(50):
                await send()
            await asyncio.sleep(0.001)

    speaking = asyncio.create_task(speak())
    try:
        async with asyncio.timeout(30):
            heard = [one async for one in talk.socket]
    finally:
        speaking.cancel()
        await asyncio.wait([speaking])
    told = [json.loads(one.data) for one in heard if one.type is WSMsgType.TEXT]
    return told, talk.socket.close_code


@pytest.fixture
def _soon_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FLOOD_SECONDS", 1)


@pytest.mark.usefixtures("_soon_over")
async def test_a_flood_of_messages_is_told_and_cut_off(start: Start) -> None:
    place = await start(max_messages_per_second=10)
    [alice] = await place.people("alice")

    told, code = await flood(alice, lambda: alice.raw('{"type":"Ping","data":{}}'))

    assert code == FLOODED
    assert told[-1]["type"] == "Error"
    assert told[-1]["data"]["code"] == TOO_MUCH


@pytest.mark.usefixtures("_soon_over")
async def test_a_flood_of_websocket_pings_is_cut_off(start: Start) -> None:
    place = await start(max_messages_per_second=10)
    [alice] = await place.people("alice")

    _, code = await flood(alice, lambda: alice.socket.ping(b"are you there"))

    assert code == FLOODED


async def test_a_websocket_ping_is_answered_with_what_it_holds(place: Place) -> None:
    talk = await place.open(token("alice"), autoping=False)
    await talk.hear()

    await talk.socket.ping(b"are you there")

    answer = await talk.socket.receive()
    assert (answer.type, bytes(answer.data)) == (WSMsgType.PONG, b"are you there")


async def test_a_client_whose_replies_wait_is_not_read_any_further(place: Place) -> None:
    [alice] = await place.people("alice")
    heard_before = place.server.node.metrics.heard
    with Gate("router.commands") as gate:
        await alice.say("Broadcast", {"topic": "chat", "payload": 1}, id="first")
        await gate.held.wait()
        for number in range(10 * WINDOW):  # their replies come after the first one's
            await alice.say("Unsubscribe", {"topics": ["chat"]}, id=f"c{number}")
        await until(
            lambda: place.server.node.metrics.heard >= heard_before + WINDOW, "the window is full"
        )
        await asyncio.sleep(0.05)

        assert place.server.node.metrics.heard == heard_before + WINDOW
        gate.open()
        told = await alice.hears(1 + 20 * WINDOW)
    assert told[0]["data"]["message_id"] == "first"


async def test_who_says_much_at_once_is_heard_in_turns_with_others(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    metrics, many = place.server.node.metrics, 1500
    before = metrics.heard
    wire = alice.socket._response.connection
    assert wire is not None
    assert wire.transport is not None
    message = b'{"type":"Ping","data":{}}'
    wire.transport.write((bytes((0x81, 0x80 | len(message))) + bytes(4) + message) * many)

    await bob.ask("Ping", {})

    assert metrics.heard - before < many
    await alice.hears(many)


# ---- who may come --------------------------------------------------------------------------------


async def test_handshakes_take_turns(place: Place) -> None:
    async with place.server.node.turnstile:
        waiting = asyncio.create_task(place.connect("alice"))
        await until(lambda: place.server.node.turnstile._waiters, "alice waits")  # type: ignore[arg-type, return-value]  # a deque or None
        assert not waiting.done()

    await waiting


async def knock(place: Place, user: str = "alice", **headers: str) -> ClientResponse:
    """Ask for a WebSocket; one that is granted is dropped."""
    path = f"/ws?token={token(user)}"
    answer = await place.client.get(path, headers=[*UPGRADE, *headers.items()])
    answer.close()
    return answer


def refused_for_now(answer: ClientResponse, code: int) -> bool:
    return answer.status == code and int(answer.headers["Retry-After"]) >= 1


async def test_an_address_may_ask_so_often_behind_a_proxy_too(start: Start) -> None:
    place = await start(max_handshakes_per_second=3, trusted_proxies=["127.0.0.0/8"])

    answers = [await knock(place, **{"X-Forwarded-For": "198.51.100.1"}) for _ in range(20)]
    other = await knock(place, **{"X-Forwarded-For": "198.51.100.2"})
    spoofed = [
        await knock(place, **{"X-Forwarded-For": f"6.6.6.{number}, 198.51.100.1"})
        for number in range(20)
    ]

    assert sum(one.status == 101 for one in answers) < 20
    assert any(refused_for_now(one, TOO_MUCH) for one in answers)
    assert other.status == 101
    assert any(one.status == TOO_MUCH for one in spoofed)


async def test_who_is_no_trusted_proxy_cannot_say_where_it_is(start: Start) -> None:
    place = await start(max_handshakes_per_second=3)

    answers = [
        await knock(place, **{"X-Forwarded-For": f"198.51.100.{number}"}) for number in range(20)
    ]

    assert any(one.status == TOO_MUCH for one in answers)


async def test_an_address_behind_a_proxy_has_so_many_connections(start: Start) -> None:
    place = await start(max_address_connections=2, trusted_proxies=["127.0.0.0/8"])
    home = {"X-Forwarded-For": "198.51.100.1"}
    talks = [await place.open(token("alice"), headers=home) for _ in range(2)]

    assert refused_for_now(await knock(place, **home), TOO_MUCH)
    assert (await knock(place, **{"X-Forwarded-For": "198.51.100.2"})).status == 101

    await talks[0].close()
    counts = place.server.node.admission._by_address
    await until(lambda: counts.get("198.51.100.1") == 1, "one is gone")
    assert (await knock(place, **home)).status == 101


async def test_sockets_that_say_nothing_count_to_their_address_and_others_come_in(
    start: Start,
) -> None:
    place = await start(max_address_connections=5)
    silent = [await asyncio.open_connection("127.0.0.1", place.server.port) for _ in range(5)]
    await until(lambda: place.server.node.admission._sockets == 5, "they are there")

    reader, writer = await asyncio.open_connection("127.0.0.1", place.server.port)
    async with asyncio.timeout(10):
        refusal = await reader.read()
    writer.close()
    assert refusal.startswith(b"HTTP/1.1 429 ")
    assert b"Retry-After: 10\r\n" in refusal

    silent[0][1].close()
    await until(lambda: place.server.node.admission._sockets < 5, "one is gone")
    assert (await knock(place)).status == 101
    for _, each in silent:
        each.close()


async def test_a_full_node_says_so_before_any_work_is_spent(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = await start(max_connections=1)
    [alice] = await place.people("alice")
    monkeypatch.setattr(place.server.node.verifier, "verify", lambda _: pytest.fail("work"))

    assert refused_for_now(await knock(place, "bob"), 503)

    monkeypatch.undo()
    await alice.close()
    await place.server.forgotten("alice")
    assert (await knock(place, "bob")).status == 101


async def test_a_node_takes_so_many_a_second_from_wherever(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = await start(max_accepts_per_second=2)
    for number in range(4):
        await knock(place, f"user{number}")
    monkeypatch.setattr(place.server.node.verifier, "verify", lambda _: pytest.fail("work"))

    assert refused_for_now(await knock(place, "bob"), 503)


async def test_a_user_has_so_many_connections_and_a_browser_can_read_why(start: Start) -> None:
    place = await start(max_user_connections=2)
    await place.people("alice", "alice")

    assert refused_for_now(await knock(place), TOO_MUCH)
    talk = await place.open(token("alice"), headers={"Origin": "http://localhost:3000"})
    assert (await talk.hear())["data"]["code"] == TOO_MUCH
    assert await talk.closed() == FLOODED
    await place.people("bob")


async def test_production_has_limits_without_being_told(start: Start) -> None:
    place = await start(mode="production", jwt_issuer="tests", allowed_origins=[HOME])
    settings = place.server.settings

    assert (settings.max_messages_per_second, settings.max_user_messages_per_second) == (50, 200)
    assert (settings.max_handshakes_per_second, settings.max_address_connections) == (20, 200)
    assert (settings.max_bytes_per_second, settings.max_accepts_per_second) == (1_048_576, 500)
