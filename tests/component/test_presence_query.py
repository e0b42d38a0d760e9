"""Asking who is online, and who is subscribed (P3)."""

from typing import Any

import pytest

from tests.component.staging import end_reigns
from tests.support.embedded import Message, Place, Talk


async def query(talk: Talk, **asked: Any) -> Message:
    """Ask; return the data of the PresenceState."""
    state, ack = await talk.ask("PresenceQuery", asked)
    assert (state["type"], ack["data"]["status"]) == ("PresenceState", "ok"), (state, ack)
    data: Message = state["data"]
    return data


async def test_users_are_told_of_as_others_see_them_in_the_order_asked(place: Place) -> None:
    alice = await place.connect("alice")
    bob = await place.connect("bob", presence={"device": "web"})
    await place.connect("bob")
    await bob.ask("Presence", {"status": "away", "metadata": {"mood": "lunch"}})
    state = await query(alice, users=["carol", "bob", "alice", "bob"])
    assert state["complete"] is True
    carol, first, second = state["users"]
    assert carol == {"user_id": "carol", "status": "offline", "connections": 0}
    seconds, milliseconds = first.pop("last_seen"), first.pop("last_seen_ms")
    assert milliseconds // 1000 == seconds
    assert (first["user_id"], first["status"], first["connections"]) == ("bob", "away", 2)
    assert first["metadata"]["mood"] == "lunch"
    assert (second["user_id"], second["status"]) == ("alice", "online")


async def test_a_topic_is_told_of_by_users_and_connections(place: Place) -> None:
    alice, bob, twin, carol = await place.people("alice", "bob", "bob", "carol")
    for one, pattern in ((bob, "chat.a"), (twin, "chat.*"), (carol, "chat.#"), (alice, "chat.b")):
        await one.subscribe(pattern)
    await carol.subscribe("chat.a")
    state = await query(alice, topic="chat.a")
    assert state == {
        "topic": "chat.a",
        "users": [
            {"user_id": "bob", "connections": 2},
            {"user_id": "carol", "connections": 1},
        ],
        "connections": 3,
        "complete": True,
    }
    await bob.ask("Unsubscribe", {"topics": ["chat.a"]})
    assert (await query(alice, topic="chat.a"))["connections"] == 2
    nobody = await query(alice, topic="nobody.here")
    assert (nobody["users"], nobody["connections"], nobody["complete"]) == ([], 0, True)


async def test_a_change_of_owner_forgets_neither(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("chat.a")
    for service in ("router", "presence"):
        await end_reigns(place, service)
    assert (await query(alice, topic="chat.a"))["connections"] == 1
    assert (await query(alice, users=["bob"]))["users"][0]["status"] == "online"


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "data"),
        ({"users": []}, "data"),
        ({"users": ["bob"], "topic": "a"}, "data"),
        ({"users": "bob"}, "data.users"),
        ({"users": [""]}, "data.users[0]"),
        ({"users": ["x"] * 101}, "data.users"),
        ({"topic": "chat.*"}, "data.topic"),
        ({"topic": "a..b"}, "data.topic"),
        ({"topic": 7}, "data.topic"),
    ],
)
async def test_what_is_no_question_is_a_bad_request(
    place: Place, asked: dict[str, Any], field: str
) -> None:
    alice = await place.connect("alice")
    error = await alice.refused("PresenceQuery", asked)
    assert (error["code"], error["details"]["field"]) == (400, field)


async def test_it_takes_the_right_to_presence_and_for_a_topic_to_subscribe(place: Place) -> None:
    cases: list[tuple[dict[str, Any], dict[str, Any], str | None]] = [
        ({"presence": ["presence.bob"]}, {"users": ["bob"]}, None),
        ({"presence": ["presence.bob"]}, {"users": ["bob", "carol"]}, "presence"),
        ({"presence": ["presence.*"]}, {"users": ["bob", "a.b"]}, None),
        ({"presence": ["presence.*"]}, {"topic": "chat.a"}, "subscribe"),
        ({"subscribe": ["chat.*"]}, {"topic": "chat.a"}, "presence"),
        ({"subscribe": ["chat.*"], "presence": ["presence.*"]}, {"topic": "chat.a"}, None),
    ]
    for permissions, asked, lacking in cases:
        alice = await place.connect("alice", permissions=permissions)
        if lacking is None:
            await query(alice, **asked)
        else:
            error = await alice.refused("PresenceQuery", asked)
            assert (error["code"], error["details"]["right"]) == (403, lacking)
