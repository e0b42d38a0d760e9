"""The first frame of every conversation (S7)."""

import uuid

import pytest

from gateway import conversation
from tests.support.embedded import Gate, Place, token


async def test_the_welcome_says_what_the_reference_says_and_more(place: Place) -> None:
    credential = token("alice", 1000)
    talk = await place.open(credential)
    message = await talk.hear()
    details = message["data"].pop("details")
    assert message == {"type": "Status", "data": {"status": "connected"}}
    assert str(uuid.UUID(details["connection_id"], version=4)) == details["connection_id"]
    assert details["protocol_version"] == "1.0"
    known = ["broadcast", "direct_message", "presence", "history"]
    assert details["features"] == [*known, "acks", "binary", "extensions"]
    limits = details["limits"]
    assert (limits["message_bytes"], limits["binary_bytes"]) == (65_536, 1_048_576)
    assert details["heartbeat_interval"] == 25
    assert (details["user_id"], details["node_id"]) == ("alice", place.server.settings.node_id)
    for name in ("server_time", "expires_at"):
        assert details[name] == details[f"{name}_ms"] // 1000
    assert abs(details["expires_at"] - details["server_time"] - 1000) <= 1


async def test_commands_sent_before_the_welcome_are_answered_after_it(place: Place) -> None:
    with Gate("presence.commands") as gate:
        talk = await place.open(token("alice"))
        await talk.say("Ping", {"timestamp": 1}, id="p")
        await talk.say("Subscribe", {"topics": ["a"]}, id="s")
        await gate.held.wait()
        gate.open()
        first, *rest = await talk.hears(5)
    assert first["data"]["status"] == "connected"
    assert [(one["type"], one["id"]) for one in rest] == [
        ("Pong", "p"),
        ("Ack", "p"),
        ("Status", "s"),
        ("Ack", "s"),
    ]


async def test_the_welcome_comes_before_messages_that_wait(place: Place) -> None:
    alice = await place.connect("alice")
    for number in range(3):
        await alice.direct("bob", number)
    with Gate("presence.commands") as gate:
        bob = await place.open(token("bob"))
        await gate.held.wait()
        for number in range(3, 6):
            await alice.say("DirectMessage", {"target_user": "bob", "payload": number})
        await alice.told()
        gate.open()
        welcome, *messages = await bob.hears(7)
    assert welcome["data"]["status"] == "connected"
    assert [one["data"]["payload"] for one in messages] == list(range(6))


async def test_a_message_that_comes_too_early_is_held_until_the_welcome(place: Place) -> None:
    alice, phone = await place.people("alice", "bob")
    with Gate("presence.commands") as gate:
        await alice.say("DirectMessage", {"target_user": "bob", "payload": 1})
        await gate.held.wait()
        laptop = await place.open(token("bob"))
        await alice.told()
        gate.let_one_through()
        assert (await phone.hear())["data"]["payload"] == 1
        gate.open()
        welcome, message = await laptop.hears(2)
    assert welcome["data"]["status"] == "connected"
    assert message["data"]["payload"] == 1


async def test_without_the_clusters_confirm_there_is_no_welcome(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "WELCOME_SECONDS", 0.05)
    with Gate("presence.commands"):
        talk = await place.open(token("alice"))
        error = await talk.hear()
        assert (error["type"], error["data"]["code"]) == ("Error", 503)
        assert error["data"]["details"]["retry_after_ms"] > 0
        assert await talk.closed() == 4503
