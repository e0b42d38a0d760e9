"""Several commands in one message (X4)."""

import asyncio
import json
from typing import Any

import pytest

from gateway import performer
from tests.component.staging import payloads
from tests.support.embedded import Message, Place, Talk


def operation(kind: str, data: Any, **rest: Any) -> Message:
    return {"type": kind, "data": data, **rest}


def say(topic: str, payload: Any, **rest: Any) -> Message:
    return operation("Broadcast", {"topic": topic, "payload": payload}, **rest)


async def batch(talk: Talk, *operations: Any) -> tuple[list[Message], Message]:
    """Send a batch; return what came before its Ack, and the data of that."""
    await talk.say("Batch", {"operations": operations}, id="all")
    heard: list[Message] = []
    while not heard or heard[-1].get("id") != "all":
        heard.append(await talk.hear())
    return heard[:-1], heard[-1]["data"]


async def test_each_operation_is_answered_on_its_own_and_then_the_batch(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    answers, ack = await batch(
        alice,
        operation("Subscribe", {"topics": ["a"]}, id="1"),
        say("a", "hello", id="2"),
        operation("DirectMessage", {"target_user": "bob", "payload": "hi"}, id="3"),
        operation("Ping", {"timestamp": 1}, id="4"),
    )
    assert ack == {"message_id": "all", "status": "ok", "succeeded": 4, "failed": 0}
    ended = [one["data"]["message_id"] for one in answers if one["type"] == "Ack"]
    assert sorted(ended) == ["1", "2", "3", "4"]
    assert payloads(answers) == ["hello"]
    assert payloads(await bob.hears(1), "DirectMessage") == ["hi"]


async def test_operations_are_carried_out_in_order(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("a")
    _, ack = await batch(alice, *(say("a", number) for number in range(100)))
    assert (ack["succeeded"], ack["failed"]) == (100, 0)
    assert payloads(await bob.hears(100)) == list(range(100))


async def test_a_failed_operation_fails_alone_and_is_counted(place: Place) -> None:
    alice = await place.connect("alice")
    answers, ack = await batch(
        alice,
        say("a", 1, id="good"),
        say("a.*", 1, id="bad"),
        say("presence.bob", 1, id="forbidden"),
        7,
        operation("DirectMessage", {"target_user": "nobody", "payload": 1}, id="waits"),
        operation("DirectMessage", {"target_user": "nobody", "payload": 1}, metadata={"ttl": 0}),
    )
    assert (ack["succeeded"], ack["failed"]) == (2, 4)
    codes = [one["data"]["code"] for one in answers if one["type"] == "Error"]
    assert sorted(codes) == [400, 400, 403, 404, 404]


async def test_operations_without_an_id_get_no_ack_and_are_counted(place: Place) -> None:
    alice = await place.connect("alice")
    answers, ack = await batch(alice, say("a", 1), operation("Subscribe", {"topics": ["a"]}))
    assert [one["type"] for one in answers] == ["Status"]
    assert ack["succeeded"] == 2


async def test_a_batch_without_an_id_gets_no_ack(place: Place) -> None:
    alice = await place.connect("alice")
    await alice.say("Batch", {"operations": [operation("Ping", {"timestamp": 1})]})
    assert [one["type"] for one in await alice.told()] == ["Pong"]


async def test_a_batch_in_a_batch_is_refused(place: Place) -> None:
    alice = await place.connect("alice")
    inner = operation("Batch", {"operations": [say("a", 1)]}, id="inner")
    answers, ack = await batch(alice, inner, say("a", 2))
    assert (ack["succeeded"], ack["failed"]) == (1, 1)
    [error] = answers
    assert error["data"]["code"] == 400
    assert error["data"]["details"] == {
        "field": "type",
        "reason": "a batch in a batch",
        "message_id": "inner",
    }


@pytest.mark.parametrize("operations", [None, {}, "x", [], [{}] * 101])
async def test_a_batch_that_lists_nothing_or_too_much_is_refused(
    place: Place, operations: Any
) -> None:
    alice = await place.connect("alice")
    error = await alice.refused("Batch", {"operations": operations})
    assert error["code"] == 400
    assert error["details"]["field"] == "data.operations"


async def test_bad_operations_count_as_bad_messages_and_the_tenth_in_a_row_ends_it(
    place: Place,
) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("a")
    operations = [*[operation("Nonsense", {})] * 10, say("a", "never said")]
    await alice.say("Batch", {"operations": operations})
    errors = await alice.hears(10)
    assert [one["data"]["code"] for one in errors] == [400] * 10
    assert await alice.closed() == 4400
    assert await bob.told() == []


async def test_a_batch_is_no_good_message_by_itself(place: Place) -> None:
    alice = await place.connect("alice")
    for _ in range(2):
        await alice.say("Batch", {"operations": [operation("Nonsense", {})] * 6})
    errors = await alice.hears(10)
    assert [one["data"]["code"] for one in errors] == [400] * 10
    assert await alice.closed() == 4400


async def test_each_operation_takes_a_place_among_the_commands_that_may_wait(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(performer, "WINDOW", 3)
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("a")
    _, ack = await batch(alice, *(say("a", number, id=str(number)) for number in range(20)))
    assert ack["succeeded"] == 20
    assert payloads(await bob.hears(20)) == list(range(20))


async def test_a_client_that_goes_amid_its_batch_disturbs_nobody(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("a")
    text = json.dumps(operation("Batch", {"operations": [say("a", 1)] * 100}))
    await asyncio.gather(*(alice.raw(text) for _ in range(3)))
    await alice.close()
    await place.server.forgotten("alice")
    await (await place.connect("carol")).broadcast("a", "carol's")
    while payloads([await bob.hear()]) != ["carol's"]:
        pass
