"""How commands are answered (A1 to A8, R1)."""

import asyncio
from typing import Any

import pytest

from tests.support.embedded import Gate, Place, Talk, token

COMMANDS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "Ping": ({"timestamp": 12.5}, ["Pong", "Ack ok"]),
    "Pong": ({}, ["Ack ok"]),
    "Subscribe": ({"topics": ["a.b"]}, ["Status subscribed", "Ack subscribed"]),
    "Unsubscribe": ({"topics": ["a.b"]}, ["Status unsubscribed", "Ack unsubscribed"]),
    "Broadcast": ({"topic": "a.b", "payload": 1}, ["Ack delivered"]),
    "DirectMessage": ({"target_user": "bob", "payload": 1}, ["Ack delivered"]),
    "Presence": ({"status": "away"}, ["Ack ok"]),
    "Authenticate": ({"token": token("alice")}, ["AuthStatus renewed", "Ack ok"]),
}
SAID_WITHOUT_AN_ID = {
    "Ping": ["Pong"],
    "Subscribe": ["Status subscribed"],
    "Unsubscribe": ["Status unsubscribed"],
    "Authenticate": ["AuthStatus renewed"],
}
REFUSED: dict[str, tuple[str, Any, int]] = {
    "unknown type": ("Dance", {}, 400),
    "server's type": ("Welcome", {}, 400),
    "only the server's": ("Status", {}, 403),
    "no data": ("Ping", None, 400),
    "bad topic": ("Subscribe", {"topics": ["a..b"]}, 400),
    "empty list": ("Subscribe", {"topics": []}, 400),
    "bad unsubscribe": ("Unsubscribe", {"topics": ["a b"]}, 400),
    "pattern": ("Broadcast", {"topic": "a.*", "payload": 1}, 400),
    "no payload": ("Broadcast", {"topic": "a"}, 400),
    "reserved": ("Broadcast", {"topic": "$x", "payload": 1}, 403),
    "no target": ("DirectMessage", {"payload": 1}, 400),
    "bad status": ("Presence", {"status": "asleep"}, 400),
    "bad token": ("Authenticate", {"token": "x"}, 401),
}


def sketch(messages: list[dict[str, Any]]) -> list[str]:
    return [" ".join([one["type"], one["data"].get("status", "")]).strip() for one in messages]


# ---- Ack, Error, id ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", COMMANDS)
async def test_the_documented_reply_comes_and_then_the_ack(place: Place, kind: str) -> None:
    alice, _bob = await place.people("alice", "bob")
    data, expected = COMMANDS[kind]
    replies = await alice.ask(kind, data, id="my id")
    assert sketch(replies) == expected
    assert [one["id"] for one in replies] == ["my id"] * len(expected)
    assert replies[-1]["data"]["message_id"] == "my id"
    assert not await alice.told()


@pytest.mark.parametrize("kind", COMMANDS)
@pytest.mark.parametrize("absent", [{}, {"id": None}], ids=["no id", "null"])
async def test_without_an_id_there_is_no_ack(
    place: Place, kind: str, absent: dict[str, None]
) -> None:
    alice, _bob = await place.people("alice", "bob")
    await alice.say(kind, COMMANDS[kind][0], **absent)
    await alice.direct("alice", "fence")  # what went before on either lane is answered
    await alice.broadcast("fence", 1)
    told = [one for one in await alice.told() if one["type"] != "DirectMessage"]
    assert sketch(told) == SAID_WITHOUT_AN_ID.get(kind, [])
    assert not [one for one in told if "id" in one]


@pytest.mark.parametrize(("kind", "data", "code"), REFUSED.values(), ids=REFUSED)
async def test_a_failed_command_ends_in_one_error_that_carries_its_id(
    place: Place, kind: str, data: Any, code: int
) -> None:
    alice = await place.connect("alice")
    [error] = await alice.ask(kind, data, id="my id")
    assert (error["type"], error["data"]["code"]) == ("Error", code)
    assert error["data"]["details"]["message_id"] == "my id"
    assert error["data"]["message"]
    assert not await alice.told()


@pytest.mark.parametrize(("kind", "data", "code"), REFUSED.values(), ids=REFUSED)
async def test_an_error_echoes_the_id_at_its_top_level(
    place: Place, kind: str, data: Any, code: int
) -> None:
    alice = await place.connect("alice")
    [error] = await alice.ask(kind, data, id="my id")
    assert (error["data"]["code"], error.get("id")) == (code, "my id")


@pytest.mark.parametrize(("kind", "data", "code"), REFUSED.values(), ids=REFUSED)
async def test_a_failed_command_without_an_id_still_gets_its_error(
    place: Place, kind: str, data: Any, code: int
) -> None:
    alice = await place.connect("alice")
    await alice.say(kind, data)
    error = await alice.hear()
    assert (error["type"], error["data"]["code"]) == ("Error", code)
    assert "id" not in error
    assert "message_id" not in error["data"]["details"]


@pytest.mark.parametrize("good", ["x", "x" * 128, "mit Umlaut ä", "\U0001f600", "1"])
async def test_an_id_is_1_to_128_printable_characters(place: Place, good: str) -> None:
    alice = await place.connect("alice")
    assert [one["id"] for one in await alice.ask("Ping", {}, id=good)] == [good, good]


@pytest.mark.parametrize("bad", ["", "x" * 129, "a\nb", "a\x00b", 7, 1.5, True, [], {}])
async def test_any_other_id_is_a_bad_request(place: Place, bad: Any) -> None:
    alice = await place.connect("alice")
    await alice.say("Ping", {}, id=bad)
    error = await alice.hear()
    assert (error["type"], error["data"]["code"]) == ("Error", 400)
    assert error["data"]["details"]["field"] == "id"
    assert not await alice.told()


async def test_the_ack_names_the_message_as_it_is_delivered(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("a")
    ack = await alice.broadcast("a", 1, id="b1")
    [direct_ack] = await alice.direct("bob", 1, id="d1")
    heard = [one["data"]["metadata"]["message_id"] for one in await bob.hears(2)]
    assert heard == [ack["server_message_id"], direct_ack["data"]["server_message_id"]]
    assert heard[0].startswith("broadcast_")
    assert heard[1].startswith("dm_")


async def test_a_broadcast_without_recipients_is_a_success(place: Place) -> None:
    alice = await place.connect("alice")
    ack = await alice.broadcast("nobody.listens", 1)
    assert (ack["status"], ack["recipients"]) == ("delivered", 0)


@pytest.mark.parametrize("value", ["12", '"x"', "null", "1e999", "123456789012345678901234567890"])
async def test_the_timestamp_of_a_ping_comes_back_as_it_was(place: Place, value: str) -> None:
    alice = await place.connect("alice")
    await alice.raw(f'{{"type":"Ping","data":{{"timestamp":{value}}}}}')
    assert await alice.hear_text() == f'{{"type":"Pong","data":{{"timestamp":{value}}}}}'


# ---- order ---------------------------------------------------------------------------------------


async def test_replies_to_topic_commands_keep_their_order_and_a_ping_overtakes(
    place: Place,
) -> None:
    alice = await place.connect("alice")
    await alice.subscribe("x")
    with Gate("router.commands") as gate:
        await alice.say("Broadcast", {"topic": "y", "payload": 1}, id="1")
        await alice.say("Unsubscribe", {"topics": ["x"]}, id="2")
        await alice.say("Subscribe", {"topics": ["z"]}, id="3")
        await alice.say("Broadcast", {"topic": "z", "payload": 1}, id="4")
        await gate.held.wait()
        assert sketch(await alice.ask("Ping", {}, id="p")) == ["Pong", "Ack ok"]
        assert not await alice.told()
        gate.open()
        replies = await alice.hears(7)
    answers = [one for one in replies if one["type"] != "Broadcast"]
    assert [(one["type"], one["id"]) for one in answers] == [
        ("Ack", "1"),
        ("Status", "2"),
        ("Ack", "2"),
        ("Status", "3"),
        ("Ack", "3"),
        ("Ack", "4"),
    ]


async def test_replies_to_direct_messages_keep_their_order(place: Place) -> None:
    alice, _bob = await place.people("alice", "bob")
    users = ["bob", "nobody", "carol", "bob", "someone", "alice"]
    for number, user in enumerate(users):
        await alice.say("DirectMessage", {"target_user": user, "payload": 1}, id=str(number))
    ends: list[str] = []
    while len(ends) < len(users):
        message = await alice.hear()
        if message["type"] == "Ack":
            ends.append(message["id"])
    assert ends == [str(number) for number in range(len(users))]


# ---- repeats -------------------------------------------------------------------------------------


async def sent_twice(sender: Talk, kind: str, data: dict[str, Any], **rest: Any) -> list[Any]:
    return [await sender.ask(kind, data, **rest) for _ in range(2)]


@pytest.mark.parametrize("kind", ["Broadcast", "DirectMessage"])
async def test_a_repeated_id_gets_the_same_ack_and_delivers_nothing_more(
    place: Place, kind: str
) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("a.b")
    first, again = await sent_twice(alice, kind, COMMANDS[kind][0], id="same")
    assert first == again
    assert [one["type"] for one in await bob.told()] == [kind]


@pytest.mark.parametrize("kind", ["Broadcast", "DirectMessage"])
async def test_a_repeat_while_the_first_is_on_its_way_is_answered_and_delivers_nothing_more(
    place: Place, kind: str
) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("a.b")
    with Gate("router.commands"), Gate("presence.commands"):
        for _ in range(2):
            await alice.say(kind, COMMANDS[kind][0], id="same")
        await alice.told()
    first, again = await alice.hears(2)
    assert first == again
    assert [one["type"] for one in await bob.told()] == [kind]


async def test_a_repeated_message_to_somebody_offline_waits_once(place: Place) -> None:
    alice = await place.connect("alice")
    data = {"target_user": "bob", "payload": 1}
    first, again = await sent_twice(alice, "DirectMessage", data, id="same")
    assert first == again
    bob = await place.connect("bob")
    await alice.direct("bob", "fence")
    assert [one["data"]["payload"] for one in await bob.told()] == [1, "fence"]


async def test_the_same_id_on_another_connection_is_another_command(place: Place) -> None:
    alice, twin, bob = await place.people("alice", "alice", "bob")
    await bob.subscribe("a")
    for one in (alice, twin):
        await one.broadcast("a", 1, id="msg_1")
        await one.direct("bob", 1, id="msg_2")
    assert len(await bob.told()) == 4


@pytest.mark.parametrize("kind", ["Broadcast", "DirectMessage"])
async def test_an_idempotency_key_holds_across_connections_of_a_user(
    place: Place, kind: str
) -> None:
    alice, bob, stranger = await place.people("alice", "bob", "mallory")
    await bob.subscribe("a.b")
    key = {"idempotency_key": "once"}
    [first] = await alice.ask(kind, COMMANDS[kind][0], id="1", metadata=key)
    await alice.close()
    twin = await place.connect("alice")
    [again] = await twin.ask(kind, COMMANDS[kind][0], id="2", metadata=key)
    assert again["data"].pop("message_id") == "2"
    assert first["data"].pop("message_id") == "1"
    assert again["data"] == first["data"]
    assert len(await bob.told()) == 1
    await stranger.ask(kind, COMMANDS[kind][0], id="3", metadata=key)
    assert len(await bob.told()) == 1


async def test_a_command_whose_connection_is_gone_disturbs_nobody(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("a")
    with Gate("router.commands") as gate:
        await alice.say("Broadcast", {"topic": "a", "payload": 1}, id="1")
        await gate.held.wait()
        await asyncio.gather(alice.close(), place.server.forgotten("alice"))
    assert (await bob.hear())["data"]["payload"] == 1
