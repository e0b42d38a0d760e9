"""Extensions, headers, batches, notifications, payloads and bad input (X1 to X7)."""

import json
from typing import Any

import pytest

from shared.messages.client import SERVER_ONLY
from tests.component.staging import history, metadata, payloads
from tests.protocol.conftest import Name
from tests.support.api import BackEnd
from tests.support.embedded import Message, Place, Talk

BIG = "x" * 60_000
LIMIT = 65_536
ENOUGH = 400
"""Big messages that fill the buffers of both sides and of the kernel between them."""


# ---- extensions ----------------------------------------------------------------------------------


async def test_a_registered_client_carries_out_a_command_and_its_reply_is_the_askers(
    place: Place, name: Name
) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    dice = name("X-Dice")
    [ack] = await bob.ask("Register", {"types": [dice]})
    assert ack["data"]["status"] == "ok"
    headers = {"trace": "t", "from_user": "mallory"}
    await alice.say(dice, {"sides": 6}, id="d", metadata=headers, timestamp=5)
    command = await bob.hear()
    told = command.pop("metadata")
    assert command == {"type": dice, "data": {"sides": 6}, "id": told["message_id"]}
    assert told["message_id"].startswith("extension_")
    assert told.pop("sent_at") == told.pop("sent_at_ms") // 1000
    assert told == {
        "trace": "t",
        "client_timestamp": 5,
        "message_id": command["id"],
        "from_user": name("alice"),
        "connection_id": alice.id,
    }
    [ack] = await bob.ask("Reply", {"to": command["id"], "data": [4]})
    assert ack["data"]["status"] == "ok"
    assert await alice.answers("d") == [
        {"type": dice, "data": [4], "id": "d"},
        {"type": "Ack", "data": {"message_id": "d", "status": "ok"}, "id": "d"},
    ]
    assert (await bob.refused("Reply", {"to": command["id"], "data": 1}))["code"] == 404


async def test_a_worker_may_answer_with_an_error_and_without_an_id_there_is_no_ack(
    place: Place, name: Name
) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    await bob.ask("Register", {"types": [name("X-Dice")]})
    fault = {"code": 409, "message": "Already rolled", "details": {"at": [1e3, None]}}
    for answer in ({"error": fault}, {"data": None}):
        await alice.say(name("X-Dice"), {})
        await bob.ask("Reply", {"to": (await bob.hear())["id"], **answer})
    error, result = await alice.hears(2)
    assert error == {"type": "Error", "data": fault}
    assert result == {"type": name("X-Dice"), "data": None}
    assert not await alice.told()
    for bad in ({}, {"data": 1, "error": fault}, {"error": {"code": 200, "message": "fine"}}):
        assert (await bob.refused("Reply", {"to": "extension_x", **bad}))["code"] == 400


async def test_to_register_takes_the_right_and_who_unregisters_is_asked_no_more(
    place: Place, name: Name
) -> None:
    alice = await place.connect(name("alice"))
    bob = await place.connect(name("bob"), permissions={"extensions": [name("X-Dice")]})
    assert (await alice.refused(name("X-Dice"), {}))["code"] == 404
    error = await bob.refused("Register", {"types": [name("X-Dice"), name("X-Coin")]})
    assert (error["code"], error["details"]["right"]) == (403, "extensions")
    await bob.ask("Register", {"types": [name("X-Dice")]})
    await alice.say(name("X-Dice"), {}, id="d")
    await bob.ask("Reply", {"to": (await bob.hear())["id"], "data": 1})
    assert [one["type"] for one in await alice.answers("d")] == [name("X-Dice"), "Ack"]
    [ack] = await bob.ask("Unregister", {"types": [name("X-Dice"), name("X-Coin")]})
    assert ack["data"]["status"] == "ok"
    assert (await alice.refused(name("X-Dice"), {}))["code"] == 404
    for kind in ("X-", "X--a", "X-a b", "X-ä", f"X-{'x' * 65}"):
        error = await alice.refused(kind, {})
        assert (error["code"], error["details"]["field"]) == (400, "type")


async def test_without_an_answer_in_five_seconds_the_outcome_is_unknown(
    place: Place, name: Name
) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    await bob.ask("Register", {"types": [name("X-Dice")]})
    error = await alice.refused(name("X-Dice"), {})
    assert (error["code"], error["details"]["outcome"]) == (503, "unknown")
    assert error["details"]["retry_after_ms"] == 1000
    assert (await bob.hear())["type"] == name("X-Dice")


# ---- types and headers ---------------------------------------------------------------------------


async def test_an_unknown_type_is_400_and_one_that_only_the_server_sends_403(
    place: Place, name: Name
) -> None:
    alice = await place.connect(name("alice"))
    for kind in ("Dance", "ping", "Welcome", ""):
        assert (await alice.refused(kind, {}))["code"] == 400
    for kind in sorted(SERVER_ONLY):
        assert (await alice.refused(kind, {}))["code"] == 403


async def test_headers_are_delivered_and_the_servers_keys_win(place: Place, name: Name) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    await bob.subscribe(name("chat"))
    passed = {"ttl": 60, "priority": "high", "encryption": "aes256", "compression": "gzip"}
    forged = {"from_user": "mallory", "message_id": "forged", "sent_at": 1, "queued": True}
    ours = {"echo": True, "idempotency_key": "secret"}
    said = {"metadata": {**passed, **forged, **ours, "own": [1]}, "timestamp": 1234.5}
    ack = await alice.broadcast(name("chat"), 1, **said)
    [end] = await alice.direct(name("bob"), 1, **said)
    texts = [await bob.hear_text() for _ in "bd"]
    assert not [one for one in texts if "mallory" in one or "forged" in one]
    broadcast, direct = [metadata(json.loads(one)) for one in texts]
    for found, data in ((broadcast, ack), (direct, end["data"])):
        assert found.items() >= {**passed, "client_timestamp": 1234.5}.items()
        assert (found["own"], found["message_id"]) == ([1], data["server_message_id"])
        assert not found.keys() & {"echo", "idempotency_key", "queued"}
        assert found["sent_at"] == found["sent_at_ms"] // 1000
    assert broadcast["from_user"] == name("alice")
    for bad in ({"ttl": -1}, {"priority": "urgent"}, {"echo": 1}, {"idempotency_key": ""}):
        await alice.say("Broadcast", {"topic": name("chat"), "payload": 1}, metadata=bad)
        assert (await alice.hear())["data"]["code"] == 400


async def test_low_priority_is_shed_first_and_none_is_reordered(place: Place, name: Name) -> None:
    alice, sleeper = await place.people(name("alice"), name("sleeper"))
    await sleeper.subscribe(name("flood"))
    live = {"metadata": {"ttl": 0}}
    sent = 0
    while (await alice.broadcast(name("flood"), BIG, **live))["recipients"] and sent < ENOUGH:
        sent += 1
    for _ in range(5):  # more than 256 KiB are held back then
        await alice.broadcast(name("flood"), BIG, **live)
    for priority in ("low", "normal", "high", "low", "normal"):
        await alice.broadcast(name("flood"), priority, metadata={"priority": priority})
    heard = payloads(await sleeper.hears(sent + 6 + 3))
    assert heard[-3:] == ["normal", "high", "normal"]
    await alice.broadcast(name("flood"), "caught up", metadata={"priority": "low"})
    assert payloads(await sleeper.told()) == ["caught up"]


# ---- batches -------------------------------------------------------------------------------------


def operation(kind: str, data: Any, **rest: Any) -> Message:
    return {"type": kind, "data": data, **rest}


async def batch(talk: Talk, *operations: Any) -> tuple[list[Message], Message]:
    """Send a batch; return what came before its Ack, and the data of that."""
    await talk.say("Batch", {"operations": operations}, id="all")
    heard = [await talk.hear()]
    while heard[-1].get("id") != "all":
        heard.append(await talk.hear())
    return heard[:-1], heard[-1]["data"]


async def test_each_operation_of_a_batch_is_answered_in_order_and_then_the_batch(
    place: Place, name: Name
) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    await bob.subscribe(name("chat"))
    said = {"topic": name("chat"), "payload": 1}
    answers, ack = await batch(
        alice,
        operation("Broadcast", said, id="good"),
        operation("Broadcast", {**said, "topic": "a.*"}, id="bad"),
        operation("Batch", {"operations": [operation("Pong", {})]}, id="nested"),
        7,
        operation("DirectMessage", {"target_user": name("carol"), "payload": 1}, id="waits"),
        operation("Subscribe", {"topics": [name("other")]}),
    )
    assert ack == {"message_id": "all", "status": "ok", "succeeded": 3, "failed": 3}
    ends = {one["id"]: one for one in answers if "id" in one}  # the last of each
    assert {key: one["type"] for key, one in ends.items()} == {
        "good": "Ack",
        "bad": "Error",
        "nested": "Error",
        "waits": "Ack",
    }
    many = [operation("Broadcast", {**said, "payload": number}) for number in range(100)]
    _, ack = await batch(alice, *many)
    assert ack["succeeded"] == 100
    assert payloads(await bob.told()) == [1, *range(100)]
    for bad in ([], [{}] * 101, None):
        assert (await alice.refused("Batch", {"operations": bad}))["code"] == 400


async def test_operations_count_as_messages(place: Place, name: Name) -> None:
    alice = await place.connect(name("alice"))
    await alice.say("Batch", {"operations": [operation("Nonsense", {})] * 11})
    assert [one["data"]["code"] for one in await alice.hears(10)] == [400] * 10
    assert await alice.closed() == 4400


# ---- notifications -------------------------------------------------------------------------------


def notification(to: str, *named: str, **rest: Any) -> Message:
    audience = {"to": to, to: named} if named else {"to": to}
    return {"audience": audience, "title": "Maintenance", "message": "In 1 hour", **rest}


async def test_a_notification_reaches_its_audience_on_every_gateway(
    place: Place, name: Name, ops: BackEnd
) -> None:
    users = [name(one) for one in ("alice", "bob", "bob", "carol")]
    everybody = alice, phone, laptop, carol = await place.people(*users)
    await alice.subscribe(f"{name('a')}.*", name("b"))
    await carol.subscribe(name("b"))
    audiences: list[tuple[Message, list[Talk]]] = [
        (notification("all"), [*everybody]),
        (notification("users", name("bob")), [phone, laptop]),
        (notification("topics", f"{name('a')}.x", name("b")), [alice, carol]),
        (notification("connections", laptop.id, "nobody"), [laptop]),
    ]
    for said, audience in audiences:
        result = await ops.post("/notifications", said)
        assert (result["recipients"], result["queued"]) == (len(audience), 0)
        for one in audience:
            assert (await one.hear())["data"]["id"] == result["message_id"]
        assert [await one.told() for one in everybody] == [[]] * 4


async def test_a_notification_has_a_level_and_waits_only_if_it_may(
    place: Place, name: Name, ops: BackEnd
) -> None:
    alice = await place.connect(name("alice"))
    actions = [{"label": "Learn More", "url": "https://status.example.com"}]
    for level in ("info", "success", "warning", "error"):
        said = notification("users", name("alice"), name("bob"), level=level, actions=actions)
        result = await ops.post("/notifications", said)
        assert (result["recipients"], result["queued"]) == (1, 0)
        data = (await alice.hear())["data"]
        assert data.pop("sent_at") == data.pop("sent_at_ms") // 1000
        assert data == {
            "id": result["message_id"],
            "level": level,
            "title": "Maintenance",
            "message": "In 1 hour",
            "actions": actions,
        }
    result = await ops.post("/notifications", notification("users", name("bob"), ttl=60))
    assert (result["recipients"], result["queued"]) == (0, 1)
    bob = await place.connect(name("bob"))
    assert (await bob.hear())["data"]["id"] == result["message_id"]
    assert not await bob.told()
    error = await ops.refused("POST", "/notifications", notification("all", level="fatal"))
    assert (error["code"], error["details"]["field"]) == (400, "level")
    assert (await alice.refused("Notification", {}))["code"] == 403


# ---- payloads and bad input ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        '{"a":1e999,"b":123456789012345678901234567890}',
        r'[1.0,1e2,-0,"\ud83d\ude00 \u0041 /\/"]',
        '{"a":1,"a":2, "from_user" : "mallory"}',
        "null",
    ],
)
async def test_a_payload_is_handed_on_as_it_came_and_the_sender_is_the_tokens(
    place: Place, name: Name, payload: str
) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    await bob.subscribe(name("chat"))
    for kind, where in (("Broadcast", "topic"), ("DirectMessage", "target_user")):
        to = name("chat" if where == "topic" else "bob")
        await alice.raw(f'{{"type":"{kind}","data":{{"{where}":"{to}","payload":{payload}}}}}')
        text = await bob.hear_text()
        assert f'"payload":{payload},' in text
        assert f'"from_user":"{name("alice")}"' in text
    [kept] = (await history(bob, name("chat")))["messages"]
    assert kept["data"]["metadata"]["from_user"] == name("alice")


BAD = (
    "",
    "hello",
    '{"type":"Ping","data":{}}{}',
    "[]",
    '"Ping"',
    '{"data":{}}',
    '{"type":1,"data":{}}',
    '{"type":"Ping"}',
    '{"type":"Ping","data":[]}',
    '{"type":"Ping","data":{"x":NaN}}',
    '{"type":"Ping","data":{"x":' + "[" * 31 + "]" * 31 + "}}",  # 33 deep
    '{"type":"Ping","data":{},"timestamp":1e999}',
    '{"type":"Ping","data":{},"metadata":{"ttl":9007199254740993}}',
    '{"type":"Ping","data":{},"metadata":[]}',
)


async def test_bad_input_gets_an_error_and_the_connection_stays(place: Place, name: Name) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    await alice.subscribe(name("chat"))
    for text in BAD:
        await alice.raw(text)
        error = (await alice.hear())["data"]
        assert (error["code"], bool(error["message"])) == (400, True), text
        await alice.ask("Ping", {"more": 1}, extra=[1])  # what is not known is ignored
    await alice.raw('{"type":"Ping","data":{"x":' + "[" * 30 + "]" * 30 + "}}")
    assert (await alice.hear())["type"] == "Pong"
    assert (await bob.broadcast(name("chat"), 1))["recipients"] == 1
    assert len(await alice.told()) == 1


async def test_ten_bad_messages_in_a_row_end_it_and_a_good_one_starts_the_count_anew(
    place: Place, name: Name
) -> None:
    alice = await place.connect(name("alice"))
    for _ in range(9):
        await alice.raw("bad")
    await alice.hears(9)
    await alice.ask("Ping", {})
    for _ in range(10):
        await alice.raw("bad")
    assert [one["data"]["code"] for one in await alice.hears(10)] == [400] * 10
    assert await alice.closed() == 4400


async def test_a_text_message_may_have_65536_bytes(place: Place, name: Name) -> None:
    alice = await place.connect(name("alice"))
    said = json.dumps(operation("Broadcast", {"topic": name("chat"), "payload": "€"}))
    text = said + " " * (LIMIT - len(said.encode()))
    await alice.raw(text)
    assert not await alice.told()
    await alice.raw(text + " ")
    error = await alice.hear()
    assert (error["type"], error["data"]["code"]) == ("Error", 400)
    assert await alice.closed() == 1009
