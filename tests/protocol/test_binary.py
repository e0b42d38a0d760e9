"""Binary messages (B1 to B4)."""

import base64
from typing import Any

from tests.component.staging import history, payloads, recover
from tests.protocol.conftest import Name
from tests.support.binary import TYPES, checksum, headed, plain
from tests.support.embedded import Message, Place, Talk

BODY = bytes(range(256))
MOST = 1_048_576


async def refused(talk: Talk, frame: bytes) -> Message:
    """Send a message that fails; return the data of the Error."""
    await talk.send(frame)
    error = await talk.hear()
    assert error["type"] == "Error", error
    data: Message = error["data"]
    return data


async def test_a_length_that_is_not_that_of_the_rest_is_a_bad_request(
    place: Place, name: Name
) -> None:
    alice = await place.connect(name("alice"))
    for frame, field in (
        (b"", "message"),
        (b"\x01\x00\x00\x00", "message"),
        (plain(0x01, b"xx")[:-1], "length"),
        (plain(0x01, b"") + b"x", "length"),
        (b"\x01\x01\x00\x00\x00x", "length"),  # little-endian
        (plain(0x05, b""), "type"),
        (plain(0x00, b""), "type"),
    ):
        error = await refused(alice, frame)
        assert (error["code"], error["details"]["field"]) == (400, field)
    assert not await alice.told()


async def test_a_binary_message_may_have_one_mebibyte(place: Place, name: Name) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    header = {"target_user": name("bob"), "metadata": {"ttl": 0}}
    body = BODY * 4096
    await alice.send(headed(header, body[: MOST - len(headed(header))]))
    assert (await alice.hear())["data"]["details"]["size"] == MOST - 5
    assert checksum((await bob.hear())["data"]["body"]) == checksum(
        body[: MOST - len(headed(header))]
    )
    await alice.send(headed(header, body[: MOST + 1 - len(headed(header))]))
    assert await alice.closed() == 1009


async def test_every_type_is_acknowledged_with_the_size_and_checksum_of_its_payload(
    place: Place, name: Name
) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    await bob.subscribe(name("chat"))
    for where in ({"topic": name("chat")}, {"target_user": name("bob")}):
        await alice.ask("BinaryRoute", where)
        for kind, called in TYPES.items():
            frame = headed(where, BODY, kind) if kind & 0x80 else plain(kind, BODY)
            await alice.send(frame)
            details = (await alice.hear())["data"]["details"]
            heard = (await bob.hear())["data"]
            assert details == {
                "size": len(frame) - 5,
                "type": called,
                "checksum": checksum(frame[5:]),
                "recipients": 1,
                "message_id": heard["header"]["message_id"],
            }
            assert (heard["type"], heard["body"]) == (called, BODY)


async def test_a_route_says_where_a_connections_messages_without_a_header_go(
    place: Place, name: Name
) -> None:
    alice, twin, bob = await place.people(name("alice"), name("alice"), name("bob"))
    await bob.subscribe(name("chat"))

    async def send(talk: Talk, body: bytes) -> int:
        await talk.send(plain(0x03, body))
        return int((await talk.hear())["data"]["details"]["recipients"])

    assert await send(alice, b"nowhere") == 0
    await alice.ask("BinaryRoute", {"topic": name("chat")})
    assert await send(alice, b"topic") == 1
    assert await send(twin, b"another connection") == 0
    await alice.ask("BinaryRoute", {"target_user": name("bob")})
    assert await send(alice, b"user") == 1
    await alice.ask("BinaryRoute", {})
    assert await send(alice, b"nowhere again") == 0
    assert [one["data"]["body"] for one in await bob.told()] == [b"topic", b"user"]


async def test_receivers_get_a_header_with_what_sender_and_server_say(
    place: Place, name: Name
) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    about = {"name": "é", "content_type": "a/b", "transfer_id": "t", "seq": 0, "final": True}
    for where, prefix in (
        ({"topic": name("chat")}, "broadcast"),
        ({"target_user": name("bob")}, "dm"),
    ):
        await bob.subscribe(name("chat"))
        forged = {"from_user": "mallory", "sent_at": 1, "message_id": "forged"}
        header = {**where, **about, **forged, "id": prefix, "metadata": {"ttl": 0, "own": 1}}
        await alice.send(headed(header, BODY))
        status, ack = await alice.answers(prefix)
        found = (await bob.hear())["data"]["header"]
        assert found.pop("sent_at") == found.pop("sent_at_ms") // 1000
        message_id = ack["data"]["server_message_id"]
        assert status["data"]["details"]["message_id"] == message_id
        assert message_id.startswith(f"{prefix}_")
        assert found == {
            **where,
            **about,
            "metadata": {"ttl": 0, "own": 1},
            "from_user": name("alice"),
            "message_id": message_id,
        }
    bad: list[tuple[Any, str]] = [
        (b"no JSON", "header"),
        ({"name": "x"}, "header"),
        ({"topic": "a", "target_user": "b"}, "header"),
        ({"topic": "a.*"}, "header.topic"),
        ({"topic": "a", "seq": -1}, "header.seq"),
    ]
    for header, field in bad:
        error = await refused(alice, headed(header))
        assert (error["code"], error["details"]["field"]) == (400, field)


async def test_rights_are_those_of_the_json_commands(place: Place, name: Name) -> None:
    rights = {"publish": ["chat.a"], "direct": ["bob"]}
    alice = await place.connect(name("alice"), permissions=rights)
    for header in (
        {"topic": "chat.b"},
        {"topic": "presence.alice"},
        {"topic": "system.news"},
        {"target_user": "carol"},
    ):
        assert (await refused(alice, headed(header)))["code"] == 403
        assert (await alice.refused("BinaryRoute", header))["code"] == 403
    await alice.send(headed({"topic": "chat.a"}))
    assert (await alice.hear())["data"]["status"] == "binary_received"


async def test_history_recovery_and_mailbox_keep_them_like_all_others(
    place: Place, name: Name
) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    await alice.send(headed({"topic": name("chat"), "id": "m"}, BODY))
    await alice.answers("m")
    [kept] = (await history(bob, name("chat")))["messages"]
    assert kept["type"] == "Binary"
    assert base64.b64decode(kept["data"]["body"]) == BODY
    assert kept["data"]["header"]["offset"] == 1
    await recover(bob, {name("chat"): {"since": 0}})
    again = (await bob.hear())["data"]
    assert (again["body"], again["header"].pop("replayed")) == (BODY, True)
    assert again["header"] == kept["data"]["header"]
    await alice.send(headed({"target_user": name("carol"), "id": "d"}, BODY))
    error, status, ack = await alice.hears(3)
    assert (error["data"]["code"], error["data"]["details"]["queued"]) == (404, True)
    assert (status["data"]["details"]["recipients"], ack["data"]["status"]) == (0, "queued")
    waited = (await (await place.connect(name("carol"))).hear())["data"]
    assert (waited["body"], waited["header"]["queued"]) == (BODY, True)


async def test_they_keep_their_order_among_json_messages_and_repeats_are_delivered_once(
    place: Place, name: Name
) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    await bob.subscribe(name("chat"))
    for number in range(20):
        await alice.say("Broadcast", {"topic": name("chat"), "payload": number})
        for _ in "ab":
            await alice.send(headed({"topic": name("chat"), "id": f"{number}"}, b"%d" % number))
    heard = await bob.hears(40)
    assert payloads(heard) == list(range(20))
    assert [one["data"]["body"] for one in heard[1::2]] == [b"%d" % number for number in range(20)]
    await alice.broadcast(name("chat"), "fence")
    assert payloads(await bob.told()) == ["fence"]
