"""Every type of message, from everybody: what the token does not grant is refused (W17, S4)."""

import json
from typing import Any

import pytest

from shared.messages import client
from tests.component.conftest import Start
from tests.support.binary import headed
from tests.support.embedded import Message, Place, Talk, token

UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 401, 403, 404
ADMIN = "admin"
ROLES: dict[str, dict[str, Any]] = {
    "nobody": {"permissions": {}},
    "subscribe": {"permissions": {"subscribe": ["#"]}},
    "publish": {"permissions": {"publish": ["#"]}},
    "direct": {"permissions": {"direct": True}},
    "presence": {"permissions": {"presence": ["presence.#"]}},
    "history": {"permissions": {"history": ["#"]}},
    "extensions": {"permissions": {"extensions": ["*"]}},
    "reserved": {"permissions": {"publish": ["system.#", "presence.#", "$own"]}},
    ADMIN: {"permissions": {}, "roles": ["admin"]},
}
"""Claims; most are named for the one right that they give."""

ANY, NONE = frozenset(ROLES), frozenset[str]()


def may(*rights: str) -> frozenset[str]:
    return frozenset({*rights, ADMIN})


TOPICS = {"topics": ["chat.a"]}
BOB = {"target_user": "bob"}
TABLE: list[tuple[str, Message, frozenset[str]]] = [
    ("Ping", {}, ANY),
    ("Pong", {}, ANY),
    ("Ack", {"message_ids": ["dm_1"]}, ANY),
    ("Batch", {"operations": [{"type": "Ping", "data": {}}]}, ANY),
    ("Subscribe", TOPICS, may("subscribe")),
    ("Subscribe", {"topics": ["system.news"]}, may()),
    ("Subscribe", {"topics": ["presence.bob"]}, may("presence")),
    ("Subscribe", {"topics": ["$own"]}, NONE),
    ("Unsubscribe", TOPICS, ANY),
    ("Broadcast", {"topic": "chat.a", "payload": 1}, may("publish")),
    ("Broadcast", {"topic": "system.news", "payload": 1}, NONE),
    ("Broadcast", {"topic": "presence.bob", "payload": 1}, NONE),
    ("Broadcast", {"topic": "$own", "payload": 1}, NONE),
    ("DirectMessage", {**BOB, "payload": 1}, may("direct")),
    ("BinaryRoute", {"topic": "chat.a"}, may("publish")),
    ("BinaryRoute", BOB, may("direct")),
    ("BinaryRoute", {}, ANY),
    ("History", {"topic": "chat.a"}, may("subscribe")),
    ("Presence", {"status": "away"}, ANY),
    ("PresenceQuery", {"users": ["bob"]}, may("presence")),
    ("PresenceQuery", {"topic": "chat.a"}, may()),
    ("Register", {"types": ["X-Mine"]}, may("extensions")),
    ("Unregister", {"types": ["X-Mine"]}, ANY),
    ("Reply", {"to": "nothing", "data": 1}, ANY),
    ("X-Nobody", {}, ANY),
    *((kind, {"status": "connected", "code": 1}, NONE) for kind in sorted(client.SERVER_ONLY)),
]
"""What is sent, and who may."""

UNASKED = frozenset({"Authenticate"})
"""What is granted to whoever has a token, and tested by itself."""


def test_no_type_of_message_is_left_out() -> None:
    known = {*client.BODIES, *client.SERVER_ONLY, "X-Nobody"}

    assert {kind for kind, _, _ in TABLE} | UNASKED == known


async def forbidden(talk: Talk, kind: str, data: Message) -> bool:
    """Send a command; return whether it was refused for want of a right."""
    answers = await talk.ask(kind, data)
    codes = {one["data"]["code"] for one in answers if one["type"] == "Error"}
    assert codes <= {FORBIDDEN, NOT_FOUND}, answers
    return FORBIDDEN in codes


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_may_do_what_it_is_granted_and_nothing_else(place: Place, role: str) -> None:
    talk = await place.connect("alice", **ROLES[role])

    for kind, data, allowed in TABLE:
        assert await forbidden(talk, kind, data) is (role not in allowed), (kind, data)


@pytest.mark.parametrize("role", ROLES)
async def test_binary_messages_take_the_rights_of_their_twins(place: Place, role: str) -> None:
    talk = await place.connect("alice", **ROLES[role])

    for header, allowed in (({"topic": "chat.a"}, may("publish")), (BOB, may("direct"))):
        kind = 0x81 if "topic" in header else 0x82
        await talk.send(headed({**header, "id": "b"}, b"x", kind))
        answers = await talk.answers("b")
        codes = {one["data"]["code"] for one in answers if one["type"] == "Error"}
        assert (FORBIDDEN in codes) is (role not in allowed), (header, answers)


@pytest.mark.parametrize("role", ROLES)
async def test_an_operation_of_a_batch_has_no_more_rights_than_outside(
    place: Place, role: str
) -> None:
    talk = await place.connect("alice", **ROLES[role])
    single = [one for one in TABLE if one[0] != "Batch"]

    for kind, data, allowed in single:
        operation = {"type": kind, "data": data, "id": "inner"}
        heard = await talk.ask("Batch", {"operations": [operation]}, id="outer")
        aside = await talk.told()
        codes = {one["data"]["code"] for one in (*heard, *aside) if one["type"] == "Error"}
        assert (FORBIDDEN in codes) is (role not in allowed), (kind, data, heard, aside)


async def test_who_speaks_is_who_the_token_says(start: Start) -> None:
    place = await start()
    eve, bob = await place.people("eve", "bob")
    await bob.subscribe("chat.a")
    lie = {"sender": "alice", "from_user": "alice", "metadata": {"from_user": "alice"}}
    headers = {"from_user": "alice", "message_id": "broadcast_0", "sent_at": 1, "sent_at_ms": 1}

    ack = await eve.broadcast("chat.a", lie, metadata=headers)
    await eve.direct("bob", lie, metadata=headers)
    broadcast, direct = await bob.hears(2)

    assert broadcast["data"]["payload"] == direct["data"]["payload"] == lie
    told = broadcast["data"]["metadata"]
    assert (told["from_user"], told["message_id"]) == ("eve", ack["server_message_id"])
    assert told["sent_at_ms"] > 1
    assert direct["data"]["from_user"] == "eve"
    assert direct["data"]["metadata"]["message_id"] != "broadcast_0"
    assert direct["data"]["metadata"]["sent_at_ms"] > 1
    assert "from_user" not in direct["data"]["metadata"]


async def test_a_fresh_token_brings_its_own_rights_and_no_others(place: Place) -> None:
    talk = await place.connect("alice", **ROLES["publish"])

    await talk.ask("Authenticate", {"token": token("alice", **ROLES["direct"])})

    assert await forbidden(talk, "Broadcast", {"topic": "chat.a", "payload": 1})
    assert not await forbidden(talk, "DirectMessage", {**BOB, "payload": 1})


async def test_a_refusal_does_not_tell_whether_there_is_such_a_topic(place: Place) -> None:
    speaker = await place.connect("speaker")
    await speaker.subscribe("secret.there")
    await speaker.broadcast("secret.there", 1)
    nobody = await place.connect("nobody", permissions={})
    for kind, data in (
        ("Subscribe", {"topics": ["secret.there"]}),
        ("Broadcast", {"topic": "secret.there", "payload": 1}),
        ("History", {"topic": "secret.there"}),
        ("PresenceQuery", {"topic": "secret.there"}),
    ):
        there = await nobody.refused(kind, data, id="same1")
        other = json.loads(json.dumps(data).replace("there", "never"))
        never = await nobody.refused(kind, other, id="same2")
        assert there["code"] == FORBIDDEN
        assert spelt(there, "there", "same1") == spelt(never, "never", "same2")


async def test_a_refusal_does_not_tell_whether_somebody_is_or_was_there(place: Place) -> None:
    bob, carol = await place.people("bob", "carol")
    await carol.close()
    await place.server.forgotten("carol")
    nobody = await place.connect("nobody", permissions={})
    answers = {
        user: spelt(await nobody.refused("PresenceQuery", {"users": [user]}, id=user), user)
        for user in ("bob", "carol", "dave")
    }
    assert answers["bob"] == answers["carol"] == answers["dave"]
    assert f"'code': {FORBIDDEN}" in answers["bob"]
    assert "last_seen" not in answers["bob"]
    assert await bob.told() == []


def spelt(fault: Message, *names: str) -> str:
    """Return what an Error says, whatever was asked about."""
    text = str(fault)
    for name in names:
        text = text.replace(name, "*")
    return text


async def test_knowing_the_id_of_a_connection_grants_nothing(place: Place) -> None:
    bob, mallory = await place.people("bob", "mallory")
    [ack] = await mallory.direct("bob", 1)
    assert ack["data"]["delivered_to"] == [bob.id]
    assert (await bob.hear())["type"] == "DirectMessage"
    error, *_ = await mallory.direct(bob.id, 2)
    assert error["data"]["code"] == NOT_FOUND
    headers = {"Authorization": f"Bearer {bob.id}"}
    ended = await place.client.post("/api/v1/users/bob/disconnect", headers=headers)
    assert ended.status == UNAUTHORIZED
    assert (await place.client.get(f"/ws?token={bob.id}")).status == UNAUTHORIZED
    await mallory.say("Ack", {"message_ids": [bob.id]})
    assert await bob.told() == []
