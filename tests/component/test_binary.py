"""Binary messages to topics and users (B1 to B4)."""

from typing import Any

import pytest

from tests.component.conftest import Start
from tests.component.staging import Stall, acknowledging
from tests.support.binary import TYPES, checksum, headed, plain
from tests.support.embedded import Message, Place, Talk, token, until

ROUTES = [{"topic": "chat.a"}, {"target_user": "bob"}]
BODY = bytes(range(256))


def framed(kind: int, route: Message, body: bytes = BODY, **header: Any) -> bytes:
    """Return a message of any type; below 0x80 the connection's route must say where it goes."""
    return headed({**route, **header}, body, kind) if kind & 0x80 else plain(kind, body)


async def route(talk: Talk, **where: Any) -> None:
    [ack] = await talk.ask("BinaryRoute", where)
    assert ack["data"]["status"] == "ok"


async def deliver(talk: Talk, frame: bytes) -> list[Message]:
    """Send a message with an id, ``m``; return all that answers it."""
    await talk.send(frame)
    return await talk.answers("m")


async def refused(talk: Talk, frame: bytes) -> Message:
    """Send a message that fails; return the data of the Error."""
    await talk.send(frame)
    error = await talk.hear()
    assert error["type"] == "Error", error
    data: Message = error["data"]
    return data


# ---- what is acknowledged and delivered ----------------------------------------------------------


@pytest.mark.parametrize("where", ROUTES, ids=["topic", "user"])
@pytest.mark.parametrize("kind", TYPES, ids=hex)
async def test_any_type_goes_to_a_topic_or_a_user_and_is_acknowledged(
    place: Place, kind: int, where: Message
) -> None:
    alice, bob, carol = await place.people("alice", "bob", "carol")
    await bob.subscribe("chat.*")
    await route(alice, **where)
    frame = framed(kind, where)
    await alice.send(frame)
    status = await alice.hear()
    heard = await bob.hear()
    details = status["data"]["details"]
    message_id = details.pop("message_id")
    assert status == {"type": "Status", "data": {"status": "binary_received", "details": details}}
    assert details == {
        "size": len(frame) - 5,
        "type": TYPES[kind],
        "checksum": checksum(frame[5:]),
        "recipients": 1,
    }
    header = heard["data"].pop("header")
    assert heard == {"type": "Binary", "data": {"type": TYPES[kind], "body": BODY}}
    assert header.items() >= {**where, "from_user": "alice", "message_id": message_id}.items()
    assert header["sent_at"] == header["sent_at_ms"] // 1000
    assert message_id.startswith("broadcast_" if "topic" in where else "dm_")
    assert [await one.told() for one in (alice, bob, carol)] == [[], [], []]


@pytest.mark.parametrize("where", ROUTES, ids=["topic", "user"])
async def test_a_message_with_an_id_ends_in_the_ack_of_its_json_twin(
    place: Place, where: Message
) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("chat.a")
    status, ack = await deliver(alice, headed({**where, "id": "m"}, BODY))
    message_id = (await bob.hear())["data"]["header"]["message_id"]
    assert (status["type"], status["id"], ack["id"]) == ("Status", "m", "m")
    assert status["data"]["details"]["message_id"] == message_id
    assert ack["data"] == {
        "message_id": "m",
        "status": "delivered",
        **({"recipients": 1} if "topic" in where else {"delivered_to": [bob.id]}),
        "server_message_id": message_id,
    }


async def test_recipients_are_waited_for_also_without_an_id(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("chat.a")
    answers = place.server.node.answers
    with Stall("inbox") as stall:
        await alice.send(headed({"topic": "chat.a"}))
        await until(
            lambda: any(one.tally.answered for one in answers._waiting.values()),
            "the owner has said who gets it",
        )
        stall.open()
    assert (await alice.hear())["data"]["details"]["recipients"] == 1


async def test_without_a_route_a_message_is_acknowledged_and_goes_nowhere(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("#")
    await alice.send(plain(3, BODY))
    status = await alice.hear()
    assert status["data"]["details"]["recipients"] == 0
    assert status["data"]["details"]["checksum"] == checksum(BODY)
    assert [await alice.told(), await bob.told()] == [[], []]


async def test_a_route_holds_for_its_connection_until_another_is_set_or_none(place: Place) -> None:
    alice, again, bob = await place.people("alice", "alice", "bob")
    await bob.subscribe("chat.a")
    await route(alice, topic="chat.a")
    await alice.send(plain(1, b"1"))
    await again.send(plain(1, b"another connection"))
    await alice.hear()
    await route(alice, target_user="bob")
    await alice.send(plain(1, b"2"))
    await alice.hear()
    await route(alice)
    await alice.send(plain(1, b"nowhere"))
    assert [one["data"]["body"] for one in await bob.hears(2)] == [b"1", b"2"]
    assert not await bob.told()


async def test_an_empty_body_is_a_message_too(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    status, _ = await deliver(alice, headed({"target_user": "bob", "id": "m"}))
    assert status["data"]["details"]["recipients"] == 1
    assert (await bob.hear())["data"]["body"] == b""


async def test_the_headers_of_json_messages_hold_and_the_servers_own_fields_win(
    place: Place,
) -> None:
    alice, bob = await place.people("alice", "bob")
    for one in (alice, bob):
        await one.subscribe("chat.a")
    forged = {"from_user": "mallory", "sent_at": 1, "queued": True, "offset": 9}
    metadata = {"echo": False, "ttl": 0, "idempotency_key": "k", "compression": "gzip", **forged}
    about = {"name": "é", "content_type": "a/b", "transfer_id": "t", "seq": 0, "final": True}
    header = {"topic": "chat.a", "id": "m", "metadata": metadata, "timestamp": 5, **about, **forged}
    _, ack = await deliver(alice, headed(header, BODY))
    heard = (await bob.hear())["data"]["header"]
    assert ack["data"]["recipients"] == 1
    assert not await alice.told()
    sent_at_ms = heard["sent_at_ms"]
    assert heard == {
        "topic": "chat.a",
        **about,
        "metadata": {"ttl": 0, "compression": "gzip", "client_timestamp": 5},
        "from_user": "alice",
        "message_id": ack["data"]["server_message_id"],
        "sent_at": sent_at_ms // 1000,
        "sent_at_ms": sent_at_ms,
    }


async def test_binary_and_json_messages_of_one_client_keep_their_order(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("chat.a")
    for number in range(50):
        await alice.say("Broadcast", {"topic": "chat.a", "payload": 2 * number}, id=str(2 * number))
        await alice.send(headed({"topic": "chat.a", "id": str(2 * number + 1)}, b"%d" % number))
    heard = await bob.hears(100)
    assert [one["type"] for one in heard] == ["Broadcast", "Binary"] * 50
    assert [one["data"]["body"] for one in heard[1::2]] == [b"%d" % n for n in range(50)]
    answers = [one for one in await alice.hears(150) if one["type"] == "Ack"]
    assert [one["id"] for one in answers] == [str(number) for number in range(100)]


# ---- repeats -------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ROUTES, ids=["topic", "user"])
async def test_a_repeated_id_gets_the_same_reply_and_is_delivered_once(
    place: Place, where: Message
) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("chat.a")
    frame = headed({**where, "id": "m"}, BODY)
    first = await deliver(alice, frame)
    assert await deliver(alice, frame) == first
    assert len(await bob.told()) == 1


async def test_a_repeated_key_is_delivered_once_from_any_connection(place: Place) -> None:
    alice, again, bob = await place.people("alice", "alice", "bob")
    header = {"target_user": "bob", "id": "m", "metadata": {"idempotency_key": "k"}}
    [_, first] = await deliver(alice, headed(header, BODY))
    [status, second] = await deliver(again, headed(header, BODY))
    message_id = first["data"]["server_message_id"]
    assert second["data"]["server_message_id"] == message_id
    assert status["data"]["details"]["message_id"] == message_id
    assert len(await bob.told()) == 1


# ---- clients that confirm, and those who are not here --------------------------------------------


async def test_a_confirming_client_has_a_binary_message_when_it_says_so(place: Place) -> None:
    alice, bob = await place.connect("alice"), await acknowledging(place, "bob")
    await alice.send(headed({"target_user": "bob", "id": "m"}, BODY))
    message_id = (await bob.hear())["data"]["header"]["message_id"]
    await bob.say("Ack", {"message_ids": [message_id]})
    status, ack = await alice.answers("m")
    assert status["data"]["details"]["recipients"] == 1
    assert (ack["data"]["status"], ack["data"]["delivered_to"]) == ("delivered", [bob.id])


async def test_what_nobody_confirms_is_pending_and_has_no_recipients(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.commands.RECEIPT_SECONDS", 0.05)
    alice, bob = await place.connect("alice"), await acknowledging(place, "bob")
    status, ack = await deliver(alice, headed({"target_user": "bob", "id": "m"}, BODY))
    assert (status["data"]["details"]["recipients"], ack["data"]["status"]) == (0, "pending")
    assert (await bob.hear())["data"]["body"] == BODY


async def test_for_a_user_who_is_not_here_it_waits_in_the_mailbox(place: Place) -> None:
    alice = await place.connect("alice")
    await alice.send(headed({"target_user": "bob", "id": "m", "name": "x"}, BODY))
    error, status, ack = await alice.hears(3)
    assert error["data"]["code"] == 404
    assert error["data"]["details"] == {"queued": True, "message_id": "m"}
    assert status["data"]["details"]["recipients"] == 0
    assert (ack["data"]["status"], ack["data"]["delivered_to"]) == ("queued", [])
    bob = await place.connect("bob")
    heard = (await bob.hear())["data"]
    assert (heard["type"], heard["body"], heard["header"]["name"]) == ("file_transfer", BODY, "x")
    assert heard["header"]["queued"] is True
    assert heard["header"]["message_id"] == ack["data"]["server_message_id"]


async def test_what_is_not_kept_gets_the_error_alone(place: Place) -> None:
    alice = await place.connect("alice")
    frame = headed({"target_user": "bob", "id": "m", "metadata": {"ttl": 0}}, BODY)
    [error] = await deliver(alice, frame)
    assert error["data"]["details"] == {"queued": False, "message_id": "m"}
    assert not await alice.told()


# ---- what is refused -----------------------------------------------------------------------------

BAD = {
    "empty": (b"", "message"),
    "short": (b"\x01\x00\x00\x00", "message"),
    "unknown type": (plain(0x05, b""), "type"),
    "too long a length": (plain(0x01, b"xx")[:-1], "length"),
    "too short a length": (plain(0x01, b"") + b"x", "length"),
    "little-endian": (b"\x01\x01\x00\x00\x00x", "length"),
    "no header": (plain(0x81, b""), "header_length"),
    "too long a header": (plain(0x81, b"\xff\xff{}"), "header_length"),
    "no JSON": (headed(b"hello"), "header"),
    "no address": (headed({"name": "x"}), "header"),
    "two addresses": (headed({"topic": "a", "target_user": "bob"}), "header"),
    "pattern": (headed({"topic": "a.*"}), "header.topic"),
    "seq": (headed({"topic": "a", "seq": -1}), "header.seq"),
}


@pytest.mark.parametrize(("frame", "field"), BAD.values(), ids=BAD)
async def test_a_bad_message_gets_an_error_that_names_the_field(
    place: Place, frame: bytes, field: str
) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("#")
    error = await refused(alice, frame)
    assert (error["code"], error["details"]["field"]) == (400, field)
    assert error["details"]["reason"]
    await deliver(alice, headed({"topic": "after", "id": "m"}))
    assert len(await bob.told()) == 1


async def test_ten_bad_ones_in_a_row_end_the_conversation(place: Place) -> None:
    alice = await place.connect("alice")
    for _ in range(10):
        await refused(alice, b"\x01")
    assert await alice.closed() == 4400


async def test_rights_are_those_of_the_json_commands(place: Place) -> None:
    rights = {"publish": ["chat.a"], "direct": ["bob"]}
    alice = await place.connect("alice", permissions=rights)
    for header in (
        {"topic": "chat.b"},
        {"topic": "presence.alice"},
        {"topic": "system.news"},
        {"target_user": "carol"},
    ):
        [error] = await deliver(alice, headed({**header, "id": "m"}))
        assert error["data"]["code"] == 403
        assert (await alice.refused("BinaryRoute", header))["code"] == 403
    await deliver(alice, headed({"topic": "chat.a", "id": "m"}))


@pytest.mark.parametrize("where", ROUTES, ids=["topic", "user"])
async def test_a_right_that_a_fresh_token_has_not_is_lost_for_the_route_too(
    place: Place, where: Message
) -> None:
    alice = await place.connect("alice")
    await route(alice, **where)
    await alice.ask("Authenticate", {"token": token("alice", permissions={"publish": ["x"]})})
    assert (await refused(alice, plain(1, BODY)))["code"] == 403


# ---- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1024, 100_000])
async def test_a_message_may_have_so_many_bytes_and_no_more(start: Start, limit: int) -> None:
    place = await start(max_binary_bytes=limit)
    alice = await place.connect("alice")
    assert alice.welcome["limits"]["binary_bytes"] == limit
    await alice.send(plain(1, b"x" * (limit - 5)))
    assert (await alice.hear())["data"]["details"]["size"] == limit - 5
    await alice.raw('{"type":"Ping","data":{}}' + " " * 60_000)  # the limit of text is another
    assert (await alice.hear())["type"] == "Pong"
    await alice.send(plain(1, b"x" * (limit - 4)))
    if limit < 65_536:
        assert (await alice.hear())["data"]["details"]["limit"] == limit
    assert await alice.closed() == 1009
