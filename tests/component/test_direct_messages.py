"""Messages to one user, who is here or will be (A2, R3, R4)."""

from typing import Any

import pytest

from tests.component.conftest import Clock, Start
from tests.support.embedded import Gate, Place, token

DAY_MS = 86_400_000


def payloads(messages: list[dict[str, Any]]) -> list[Any]:
    return [one["data"]["payload"] for one in messages if one["type"] == "DirectMessage"]


# ---- somebody who is here ------------------------------------------------------------------------


async def test_a_direct_message_goes_to_all_of_the_targets_connections(place: Place) -> None:
    alice, phone, laptop, stranger = await place.people("alice", "bob", "bob", "carol")
    [ack] = await alice.direct("bob", {"hello": 1})
    assert ack["data"]["status"] == "delivered"
    assert sorted(ack["data"]["delivered_to"]) == sorted([phone.id, laptop.id])
    for one in (phone, laptop):
        [message] = await one.told()
        metadata = message["data"].pop("metadata")
        assert message == {
            "type": "DirectMessage",
            "data": {"from_user": "alice", "payload": {"hello": 1}},
        }
        assert metadata["sent_at"] == metadata["sent_at_ms"] // 1000
        assert metadata["message_id"] == ack["data"]["server_message_id"]
        assert "queued" not in metadata
    assert not await stranger.told()


async def test_a_message_to_oneself_goes_to_all_own_connections(place: Place) -> None:
    alice, twin = await place.people("alice", "alice")
    await alice.say("DirectMessage", {"target_user": "alice", "payload": 1}, id="1")
    message, ack = sorted(await alice.hears(2), key=lambda one: str(one["type"] == "Ack"))
    assert payloads([message]) == [1]
    assert sorted(ack["data"]["delivered_to"]) == sorted([alice.id, twin.id])
    assert payloads(await twin.told()) == [1]


async def test_messages_keep_their_order_per_target(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    for number in range(200):
        await alice.say("DirectMessage", {"target_user": "bob", "payload": number})
    assert payloads(await bob.hears(200)) == list(range(200))


async def test_headers_travel_with_a_message_and_cannot_name_another_sender(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    forged = {"from_user": "mallory", "queued": True, "encryption": "aes", "message_id": "x"}
    await alice.direct("bob", 1, metadata=forged, timestamp=5)
    data = (await bob.hear())["data"]
    assert data["from_user"] == "alice"
    assert data["metadata"].keys() == {
        "encryption",
        "client_timestamp",
        "message_id",
        "sent_at",
        "sent_at_ms",
    }
    assert data["metadata"]["message_id"].startswith("dm_")


@pytest.mark.parametrize(
    "user", ["a.b", "*", "#", "ä ö", "x" * 128, "a\\b\"c'", "presence", "\U0001f600", "user@x:1"]
)
async def test_any_printable_user_can_be_written_to(place: Place, user: str) -> None:
    alice = await place.connect("alice")
    bob = (
        await place.connect("bob", sub=user)
        if user.isascii()
        else await place.open(headers=[("Authorization", f"Bearer {token(user)}")])
    )
    if not bob.welcome:
        bob.welcome = (await bob.hear())["data"]["details"]
    [ack] = await alice.direct(user, 1)
    assert ack["data"]["delivered_to"] == [bob.id]


@pytest.mark.parametrize("user", ["", "x" * 129, "a\nb", 7, None, ["bob"]])
async def test_what_is_no_user_is_a_bad_request(place: Place, user: Any) -> None:
    alice = await place.connect("alice")
    data = {"target_user": user, "payload": 1}
    assert (await alice.refused("DirectMessage", data))["code"] == 400


async def test_writing_to_users_is_granted_by_the_token(place: Place) -> None:
    for direct, code in ((False, 403), (["carol"], 403)):
        alice = await place.connect("alice", permissions={"direct": direct})
        data = {"target_user": "bob", "payload": 1}
        assert (await alice.refused("DirectMessage", data))["code"] == code
    for direct in (True, ["bob"], ["*"]):
        alice = await place.connect("alice", permissions={"direct": direct})
        assert len(await alice.direct("bob", 1)) == 2


# ---- somebody who is not -------------------------------------------------------------------------


async def test_a_message_to_somebody_offline_is_an_error_and_then_an_ack(place: Place) -> None:
    alice = await place.connect("alice")
    error, ack = await alice.direct("bob", 1, id="dm_789012")
    assert error["data"] == {
        "code": 404,
        "message": "User bob not found or not connected",
        "details": {"message_id": "dm_789012", "queued": True},
    }
    assert ack["data"].pop("server_message_id").startswith("dm_")
    assert ack["data"] == {"message_id": "dm_789012", "status": "queued", "delivered_to": []}


async def test_what_waited_comes_after_the_welcome_in_order(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await place.connect("alice")
    clock = Clock(monkeypatch)
    stamps = []
    for number in range(3):
        clock.now_ms += 1000
        stamps.append(clock.now_ms)
        await alice.direct("bob", number, metadata={"own": number})
    clock.now_ms += 60_000
    bob = await place.connect("bob")
    messages = await bob.hears(3)
    assert payloads(messages) == [0, 1, 2]
    metadata = [one["data"]["metadata"] for one in messages]
    assert [one["sent_at_ms"] for one in metadata] == stamps
    assert [(one["queued"], one["own"]) for one in metadata] == [(True, 0), (True, 1), (True, 2)]
    twin = await place.connect("bob")
    await alice.direct("bob", "fence")
    assert payloads(await twin.told()) == payloads(await bob.told()) == ["fence"]


async def test_messages_without_an_id_wait_too(place: Place) -> None:
    alice = await place.connect("alice")
    await alice.say("DirectMessage", {"target_user": "bob", "payload": 1})
    error = await alice.hear()
    assert (error["data"]["code"], error["data"]["details"]) == (404, {"queued": True})
    assert payloads([await (await place.connect("bob")).hear()]) == [1]


async def outcomes(place: Place, sender: str, sizes: list[int]) -> list[bool]:
    """Send messages of these sizes to bob; return which were queued. Not queued is an Error."""
    talk = await place.connect(sender)
    found = []
    for size in sizes:
        error, *acks = await talk.direct("bob", "x" * size)
        queued = error["data"]["details"]["queued"]
        assert (error["data"]["code"], len(acks)) == (404, int(queued))
        found.append(queued)
    return found


async def test_a_mailbox_holds_so_many_messages(start: Start) -> None:
    place = await start(mailbox_messages=3)
    assert await outcomes(place, "alice", [1, 1]) == [True, True]
    assert await outcomes(place, "carol", [1, 1, 1]) == [True, False, False]
    bob = await place.connect("bob")
    assert len(await bob.hears(3)) == 3
    assert not await bob.told()
    await bob.close()
    await place.server.forgotten("bob")
    assert await outcomes(place, "alice", [1]) == [True]


async def test_a_mailbox_holds_so_many_bytes(start: Start) -> None:
    place = await start(mailbox_bytes=100)
    assert await outcomes(place, "alice", [50, 50, 40, 40, 0]) == [True, False, True, False, True]


async def test_a_mailbox_holds_so_many_messages_of_one_sender(start: Start) -> None:
    place = await start(mailbox_per_sender=2)
    assert await outcomes(place, "alice", [1, 1, 1]) == [True, True, False]
    assert await outcomes(place, "carol", [1, 1, 1]) == [True, True, False]


async def test_a_message_that_may_not_wait_is_not_kept(place: Place) -> None:
    alice, carol = await place.people("alice", "carol")
    [error] = await alice.direct("bob", 1, metadata={"ttl": 0})
    assert error["data"]["details"]["queued"] is False
    [ack] = await alice.direct("carol", 1, metadata={"ttl": 0})
    assert ack["data"]["delivered_to"] == [carol.id]
    bob = await place.connect("bob")
    assert not await bob.told()


async def test_what_could_not_be_kept_may_be_tried_again_under_its_id(place: Place) -> None:
    alice = await place.connect("alice")
    [error] = await alice.direct("bob", 1, id="try", metadata={"ttl": 0})
    assert error["data"]["code"] == 404
    bob = await place.connect("bob")
    [ack] = await alice.direct("bob", 1, id="try", metadata={"ttl": 0})
    assert ack["data"]["delivered_to"] == [bob.id]
    assert payloads(await bob.told()) == [1]


@pytest.mark.parametrize(("ttl", "waits"), [(None, DAY_MS), (60, 60_000), (99_999_999, DAY_MS)])
async def test_a_message_waits_as_long_as_it_may(
    place: Place, monkeypatch: pytest.MonkeyPatch, ttl: int | None, waits: int
) -> None:
    alice = await place.connect("alice")
    clock = Clock(monkeypatch)
    clock.now_ms += 10_000  # ahead of every clock heard of before
    for user in ("in-time", "too-late"):
        await alice.direct(user, 1, metadata={"ttl": ttl} if ttl else {})
    clock.now_ms += waits - 1
    await alice.direct("in-time", 2)
    await alice.direct("too-late", 2, metadata={"ttl": 0})
    in_time = await place.connect("in-time")
    await alice.direct("in-time", "fence")
    assert payloads(await in_time.told()) == [1, 2, "fence"]
    clock.now_ms += 1
    await alice.direct("too-late", 3)
    too_late = await place.connect("too-late")
    await alice.direct("too-late", "fence")
    assert payloads(await too_late.told()) == [3, "fence"]


async def test_an_unknown_user_and_an_offline_one_look_alike(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.close()
    await place.server.forgotten("bob")
    answers = []
    for user in ("bob", "nobody"):
        replies = await alice.direct(user, 1, id="same" + user)
        replies[1]["data"].pop("server_message_id")
        answers.append(str(replies).replace(user, "*"))
    assert answers[0] == answers[1]


async def test_a_connection_that_dies_before_its_welcome_does_not_make_its_user_vanish(
    place: Place,
) -> None:
    alice, bob = await place.people("alice", "bob")
    with Gate("presence.commands") as gate:
        await alice.say("DirectMessage", {"target_user": "bob", "payload": 1}, id="1")
        await gate.held.wait()
        second = await place.open(token("bob"))
        response = second.socket._response
        assert response.connection is not None
        assert response.connection.transport is not None
        response.connection.transport.abort()
        await alice.told()
        gate.let_one_through()
        [first] = await alice.answers("1")
    assert first["data"]["delivered_to"] == [bob.id]
    for _ in range(3):
        [*_, ack] = await alice.direct("bob", "again")
        assert ack["data"]["delivered_to"] == [bob.id]
    assert payloads(await bob.told()) == [1, "again", "again", "again"]
