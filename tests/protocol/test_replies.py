"""How commands are answered (A1 to A8)."""

import re
from typing import Any

import pytest

from tests.component.staging import metadata, payloads
from tests.protocol.conftest import Name, silenced
from tests.support.api import BackEnd
from tests.support.embedded import Message, Place, token

ULID = "[0-9A-HJKMNP-TV-Z]{26}"
BIG = "x" * 60_000
ENOUGH = 400
"""Big messages that fill the buffers of both sides and of the kernel between them."""


def commands(user: str, topic: str) -> dict[str, tuple[Message, list[str]]]:
    """Return what a client may send to itself and a topic, and what answers it."""
    return {
        "Ping": ({"timestamp": 1}, ["Pong", "Ack ok"]),
        "Pong": ({}, ["Ack ok"]),
        "Subscribe": ({"topics": [topic]}, ["Status subscribed", "Ack subscribed"]),
        "Unsubscribe": ({"topics": [topic]}, ["Status unsubscribed", "Ack unsubscribed"]),
        "Broadcast": ({"topic": topic, "payload": 1}, ["Ack delivered"]),
        "DirectMessage": ({"target_user": user, "payload": 1}, ["Ack delivered"]),
        "Presence": ({"status": "away"}, ["Ack ok"]),
        "PresenceQuery": ({"users": [user]}, ["PresenceState", "Ack ok"]),
        "Authenticate": ({"token": token(user)}, ["AuthStatus renewed", "Ack ok"]),
        "History": ({"topic": topic}, ["History", "Ack ok"]),
        "Ack": ({"message_ids": ["dm_unknown"]}, ["Ack ok"]),
        "Batch": ({"operations": [{"type": "Pong", "data": {}}]}, ["Ack ok"]),
        "BinaryRoute": ({}, ["Ack ok"]),
        "Register": ({"types": [f"X-{topic}"]}, ["Ack ok"]),
        "Unregister": ({"types": [f"X-{topic}"]}, ["Ack ok"]),
    }


REFUSED: dict[str, tuple[Any, int]] = {
    "Dance": ({}, 400),
    "Status": ({}, 403),
    "Ping": (None, 400),
    "Subscribe": ({"topics": ["a..b"]}, 400),
    "Unsubscribe": ({"topics": []}, 400),
    "Broadcast": ({"topic": "$x", "payload": 1}, 403),
    "DirectMessage": ({"payload": 1}, 400),
    "Presence": ({"status": "asleep"}, 400),
    "PresenceQuery": ({}, 400),
    "Authenticate": ({"token": "x"}, 401),
    "History": ({"topic": "a.*"}, 400),
    "Ack": ({"message_ids": []}, 400),
    "Batch": ({"operations": []}, 400),
    "BinaryRoute": ({"topic": "a.*"}, 400),
    "Register": ({"types": ["Dice"]}, 400),
    "Unregister": ({"types": []}, 400),
    "Reply": ({"to": "extension_unknown", "data": 1}, 404),
    "X-Unknown": ({}, 404),
}


def sketch(messages: list[Message]) -> list[str]:
    return [" ".join([one["type"], one["data"].get("status", "")]).strip() for one in messages]


async def test_a_command_with_an_id_ends_in_one_ack_behind_its_documented_reply(
    place: Place, name: Name
) -> None:
    alice = await place.connect(name("alice"))
    for kind, (data, expected) in commands(name("alice"), name("chat")).items():
        replies = await alice.ask(kind, data, id=f"my {kind}")
        assert sketch(replies) == expected
        assert {one["id"] for one in replies} == {f"my {kind}"}
        assert replies[-1]["data"]["message_id"] == f"my {kind}"
    assert sketch(await alice.told()) == ["DirectMessage"]


async def test_a_message_to_somebody_offline_is_an_error_and_then_an_ack_if_it_waits(
    place: Place, name: Name
) -> None:
    alice, bob = await place.connect(name("alice")), name("bob")
    error, ack = await alice.direct(bob, 1, id="dm_789012")
    assert error["data"] == {
        "code": 404,
        "message": f"User {bob} not found or not connected",
        "details": {"message_id": "dm_789012", "queued": True},
    }
    assert ack["data"].pop("server_message_id").startswith("dm_")
    assert ack["data"] == {"message_id": "dm_789012", "status": "queued", "delivered_to": []}
    [error] = await alice.direct(bob, 1, metadata={"ttl": 0})
    assert error["data"]["details"]["queued"] is False
    assert not await alice.told()


async def test_a_failed_command_ends_in_one_error_that_names_its_id(
    place: Place, name: Name
) -> None:
    alice = await place.connect(name("alice"))
    for kind, (data, code) in REFUSED.items():
        [error] = await alice.ask(kind, data, id=f"my {kind}")
        assert (error["type"], error["data"]["code"], error["id"]) == ("Error", code, f"my {kind}")
        assert error["data"]["details"]["message_id"] == f"my {kind}"
        await alice.ask("Pong", {})  # ten bad ones in a row would be too many
    assert not await alice.told()


async def test_a_command_without_an_id_is_carried_out_and_gets_no_ack(
    place: Place, name: Name
) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    await bob.subscribe(name("chat"))
    possible = commands(name("bob"), name("chat"))
    possible.pop("Authenticate")  # it is alice who says it
    for absent in ({}, {"id": None}):
        for kind, (data, expected) in possible.items():
            await alice.say(kind, data, **absent)
            assert sketch(await alice.hears(len(expected) - 1)) == expected[:-1]
    await alice.say("Subscribe", {"topics": ["a..b"]})
    error = await alice.hear()
    assert (error["type"], "id" in error) == ("Error", False)
    assert "message_id" not in error["data"]["details"]
    await alice.broadcast(name("chat"), "fence")
    await alice.direct(name("bob"), "fence")
    assert not await alice.told()
    assert sorted(sketch(await bob.told())) == ["Broadcast"] * 3 + ["DirectMessage"] * 3


async def test_delivered_counts_what_gateways_have_handed_to_sockets(
    place: Place, name: Name
) -> None:
    alice, *others = await place.people(*[name(who) for who in ("alice", "bob", "bob", "carol")])
    for one in others:
        await one.subscribe(name("chat"))
    ack = await alice.broadcast(name("chat"), 1)
    assert (ack["status"], ack["recipients"]) == ("delivered", 3)
    [ack] = await alice.direct(name("bob"), 1)
    assert sorted(ack["data"]["delivered_to"]) == sorted(one.id for one in others[:2])


async def test_what_is_held_back_for_a_slow_reader_is_not_counted(place: Place, name: Name) -> None:
    alice, bob, sleeper = await place.people(name("alice"), name("bob"), name("sleeper"))
    for one in (bob, sleeper):
        await one.subscribe(name("flood"))
    counts = [2]
    while counts[-1] == 2 and len(counts) < ENOUGH:
        ack = await alice.broadcast(name("flood"), BIG, metadata={"ttl": 0})
        counts.append(ack["recipients"])
        await bob.hear()
    assert counts == [2] * (len(counts) - 1) + [1]
    assert len(await sleeper.hears(len(counts) - 1)) == len(counts) - 1  # it may still arrive


async def test_a_gateway_that_does_not_report_within_a_second_makes_it_partial(
    place: Place, name: Name
) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    await bob.subscribe(name("chat"))
    with silenced(place):
        ack = await alice.broadcast(name("chat"), 1)
    assert (ack["status"], ack["recipients"]) == ("partial", 0)
    assert payloads([await bob.hear()]) == [1]


async def test_ids_are_minted_by_the_service_and_the_ack_names_both(
    place: Place, name: Name, ops: BackEnd
) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    await bob.subscribe(name("chat"))
    broadcast = await alice.broadcast(name("chat"), 1, id="b")
    [direct] = await alice.direct(name("bob"), 1, id="d")
    said = {"audience": {"to": "users", "users": [name("bob")]}, "title": "t", "message": "m"}
    notified = await ops.post("/notifications", said)
    acks = [broadcast, direct["data"]]
    minted = [one["server_message_id"] for one in acks] + [notified["message_id"]]
    *messages, notification = await bob.hears(3)
    heard = [metadata(one)["message_id"] for one in messages] + [notification["data"]["id"]]
    assert [one["message_id"] for one in acks] == ["b", "d"]
    assert heard == minted
    for prefix, one in zip(("broadcast", "dm", "notification"), heard, strict=True):
        assert re.fullmatch(f"{prefix}_{ULID}", one)


@pytest.mark.parametrize("kind", ["Broadcast", "DirectMessage"])
async def test_a_repeated_id_gets_the_same_ack_and_is_delivered_once(
    place: Place, name: Name, kind: str
) -> None:
    alice, bob, twin = await place.people(name("alice"), name("bob"), name("alice"))
    await bob.subscribe(name("chat"))
    data, _ = commands(name("bob"), name("chat"))[kind]
    first = await alice.ask(kind, data, id="msg_1")
    assert await alice.ask(kind, data, id="msg_1") == first
    [other] = await twin.ask(kind, data, id="msg_1")  # another connection, another command
    assert other["data"]["server_message_id"] != first[0]["data"]["server_message_id"]
    assert sketch(await bob.told()) == [kind] * 2


@pytest.mark.parametrize("kind", ["Broadcast", "DirectMessage"])
async def test_a_repeated_idempotency_key_of_a_user_is_delivered_once_from_any_gateway(
    place: Place, name: Name, kind: str
) -> None:
    topic = f"off.{name('chat')}"  # also where nothing is kept
    alice, bob, carol = await place.people(name("alice"), name("bob"), name("carol"))
    twin = await place.connect(name("alice"))  # on another gateway than alice
    await bob.subscribe(topic)
    data, _ = commands(name("bob"), topic)[kind]
    key = {"metadata": {"idempotency_key": "once"}}
    [first] = await alice.ask(kind, data, id="1", **key)
    await alice.close()
    [again] = await twin.ask(kind, data, id="2", **key)
    assert again["data"]["server_message_id"] == first["data"]["server_message_id"]
    assert len(await bob.told()) == 1
    await carol.ask(kind, data, **key)  # another user's key is another one
    assert len(await bob.told()) == 1


async def test_an_id_is_1_to_128_printable_characters(place: Place, name: Name) -> None:
    alice = await place.connect(name("alice"))
    for good in ("x", "x" * 128, "mit Umlaut ä", "\U0001f600", "1"):
        assert [one["id"] for one in await alice.ask("Ping", {}, id=good)] == [good, good]
    for bad in ("", "x" * 129, "a\nb", "a\x00b", 7, 1.5, True, [], {}):
        await alice.say("Ping", {}, id=bad)
        error = await alice.hear()
        assert (error["data"]["code"], error["data"]["details"]["field"]) == (400, "id")
    assert not await alice.told()
