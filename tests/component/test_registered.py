"""Connected clients that carry out the commands of extensions (X1)."""

import json
from typing import Any

import pytest

from gateway import answers, worker
from shared.broker import topology
from tests.component.test_extensions import echo
from tests.component.working import working
from tests.support.embedded import Message, Place, Talk, token, until


async def registered(place: Place, user: str, *types: str, **claims: Any) -> Talk:
    """Connect a client that serves these types."""
    talk = await place.connect(user, **claims)
    [ack] = await talk.ask("Register", {"types": list(types)})
    assert ack["data"]["status"] == "ok", ack
    return talk


def serves(place: Place, kind: str) -> int:
    """Return how many clients are handed the commands of a type."""
    queue = place.server.broker._queues.get(topology.extension_of_clients(kind).name)
    return 0 if queue is None else len(queue._consumers)


async def reply(talk: Talk, to: str, **answer: Any) -> None:
    """Answer a command."""
    [ack] = await talk.ask("Reply", {"to": to, **answer})
    assert ack["data"]["status"] == "ok", ack


async def test_a_registered_client_is_handed_a_command_and_its_reply_is_the_askers(
    place: Place,
) -> None:
    alice = await place.connect("alice")
    bob = await registered(place, "bob", "X-Dice", "X-Coin")
    headers = {"trace": "t", "from_user": "mallory", "connection_id": "forged"}
    await alice.say("X-Dice", {"sides": 6}, id="d", metadata=headers, timestamp=5)

    text = await bob.hear_text()

    assert "forged" not in text
    command = json.loads(text)
    told = command.pop("metadata")
    assert command == {"type": "X-Dice", "data": {"sides": 6}, "id": told["message_id"]}
    assert told.pop("sent_at") == told.pop("sent_at_ms") // 1000
    assert told == {
        "trace": "t",
        "client_timestamp": 5,
        "message_id": command["id"],
        "from_user": "alice",
        "connection_id": alice.id,
    }
    await reply(bob, command["id"], data=[4])
    assert await alice.answers("d") == [
        {"type": "X-Dice", "data": [4], "id": "d"},
        {"type": "Ack", "data": {"message_id": "d", "status": "ok"}, "id": "d"},
    ]


async def test_a_client_may_answer_with_an_error(place: Place) -> None:
    alice, bob = await place.connect("alice"), await registered(place, "bob", "X-Dice")
    await alice.say("X-Dice", {}, id="d")
    error = {"code": 429, "message": "Slowly", "details": {"wait": [1e3, None]}}
    await reply(bob, (await bob.hear())["id"], error=error)
    [heard] = await alice.answers("d")
    assert heard["data"] == {
        "code": 429,
        "message": "Slowly",
        "details": {"wait": [1e3, None], "retry_after_ms": 1000, "message_id": "d"},
    }


@pytest.mark.parametrize(
    ("granted", "types", "code"),
    [
        ({}, ["X-Dice"], 403),
        ({"subscribe": ["#"]}, ["X-Dice"], 403),
        ({"extensions": ["X-Dice"]}, ["X-Dice", "X-Coin"], 403),
        ({"extensions": ["X-Dice"]}, ["X-Dice"], None),
        ({"extensions": ["*"]}, ["X-Dice", "X-Coin"], None),
        ({"extensions": ["#"]}, ["X-Dice"], None),
    ],
)
async def test_to_register_takes_the_right_for_every_type(
    place: Place, granted: Message, types: list[str], code: int | None
) -> None:
    alice, bob = await place.connect("alice"), await place.connect("bob", permissions=granted)
    [end] = await bob.ask("Register", {"types": types})
    if code is None:
        assert end["data"]["status"] == "ok"
        return
    assert (end["data"]["code"], end["data"]["details"]["right"]) == (code, "extensions")
    assert (await alice.refused(types[0], {}))["code"] == 404


async def test_an_admin_may_register(place: Place) -> None:
    await registered(place, "bob", "X-Dice", permissions={}, roles=["admin"])


async def test_a_connection_serves_so_many_types_and_no_more(place: Place) -> None:
    bob = await registered(place, "bob", *(f"X-{number}" for number in range(32)))
    error = await bob.refused("Register", {"types": ["X-more"]})
    assert (error["code"], error["details"]["limit"]) == (403, 32)
    assert (await bob.ask("Register", {"types": ["X-0", "X-0"]}))[0]["data"]["status"] == "ok"


async def test_clients_of_one_type_take_turns(place: Place) -> None:
    alice = await place.connect("alice")
    serving = [await registered(place, user, "X-Turn") for user in ("bob", "carol")]
    for number in range(4):
        await alice.say("X-Turn", {}, id=str(number))
    for talk in serving:
        for command in await talk.hears(2):
            await reply(talk, command["id"], data=talk.welcome["user_id"])
    results = [one["data"] for one in await alice.hears(8) if one["type"] == "X-Turn"]
    assert sorted(results) == ["bob", "bob", "carol", "carol"]


async def test_what_a_client_has_not_answered_when_it_goes_is_anothers(place: Place) -> None:
    alice, bob = await place.connect("alice"), await registered(place, "bob", "X-Dice")
    await alice.say("X-Dice", {}, id="d")
    command = await bob.hear()
    carol = await registered(place, "carol", "X-Dice")
    await bob.close()
    assert await carol.hear() == command
    await reply(carol, command["id"], data="carol's")
    assert (await alice.answers("d"))[0]["data"] == "carol's"


async def test_when_the_last_client_has_gone_there_is_no_worker(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "ANSWER_SECONDS", 0.5)
    alice, bob = await place.connect("alice"), await registered(place, "bob", "X-Dice")
    await alice.say("X-Dice", {}, id="d")
    await bob.hear()
    await bob.close()
    await until(lambda: not serves(place, "X-Dice"), "it is not served any more")
    assert (await alice.refused("X-Dice", {}))["code"] == 404
    [late] = await alice.answers("d")
    assert (late["data"]["code"], late["data"]["details"]["outcome"]) == (503, "unknown")


async def test_only_what_waits_for_this_client_can_be_answered_and_only_once(
    place: Place,
) -> None:
    alice, carol = await place.people("alice", "carol")
    bob = await registered(place, "bob", "X-Dice")
    await alice.say("X-Dice", {}, id="d")
    command = await bob.hear()
    for talk, to in ((carol, command["id"]), (bob, "another")):
        assert (await talk.refused("Reply", {"to": to, "data": 1}))["code"] == 404
    await reply(bob, command["id"], data=1)
    assert (await bob.refused("Reply", {"to": command["id"], "data": 1}))["code"] == 404


async def test_workers_go_before_clients(place: Place) -> None:
    alice, bob = await place.connect("alice"), await registered(place, "bob", "X-Echo")
    async with working(place, echo):
        assert (await alice.ask("X-Echo", {}))[0]["data"] == {}
    assert await bob.told() == []


async def test_a_client_that_unregisters_is_handed_nothing_more_and_may_answer_what_it_has(
    place: Place,
) -> None:
    alice, bob = await place.connect("alice"), await registered(place, "bob", "X-Dice", "X-Coin")
    carol = await registered(place, "carol", "X-Coin")
    await alice.say("X-Dice", {}, id="d")
    command = await bob.hear()
    assert (await bob.ask("Unregister", {"types": ["X-Dice", "X-None"]}))[0]["type"] == "Ack"
    assert (await alice.refused("X-Dice", {}))["code"] == 404
    await reply(bob, command["id"], data=1)
    assert (await alice.answers("d"))[0]["data"] == 1
    await carol.ask("Unregister", {"types": ["X-Coin"]})
    await alice.say("X-Coin", {}, id="c")
    assert (await bob.hear())["type"] == "X-Coin"


async def test_a_registration_outlives_a_boot_of_the_node(place: Place) -> None:
    alice, bob = await place.connect("alice"), await registered(place, "bob", "X-Dice")
    await alice.say("X-Dice", {}, id="before")
    before = await bob.hear()
    place.server.broker.cut()
    await until(lambda: not place.server.node.membership.ready, "the node has noticed")
    await until(lambda: place.server.ready and serves(place, "X-Dice") == 1, "bob serves again")
    assert (await bob.refused("Reply", {"to": before["id"], "data": 1}))["code"] == 404
    await alice.say("X-Dice", {}, id="after")
    await reply(bob, (await bob.hear())["id"], data="again")
    assert (await alice.answers("after"))[0]["data"] == "again"


async def test_a_registration_that_is_not_confirmed_in_time_is_undone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "CONFIRM_SECONDS", 0.05)
    alice, carol = await place.people("alice", "carol")
    bob = await registered(place, "bob", "X-Coin")
    place.server.broker.leave()
    await until(lambda: not place.server.node.membership.ready, "the node has noticed")
    error = await bob.refused("Register", {"types": ["X-Dice"]})
    assert (error["code"], error["details"]["retry_after_ms"]) == (503, 1000)
    await carol.refused("Register", {"types": ["X-Dice"]})
    assert (await carol.ask("Unregister", {"types": ["X-Dice"]}))[0]["type"] == "Ack"
    place.server.broker.away = False
    await until(lambda: place.server.ready, "the node is back")
    await until(lambda: serves(place, "X-Coin") == 1, "bob serves again what he served")
    assert (await alice.refused("X-Dice", {}))["code"] == 404


async def test_a_client_is_handed_so_many_commands_and_more_when_it_has_answered(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "PREFETCH", 2)
    alice, bob = await place.connect("alice"), await registered(place, "bob", "X-Dice")
    for number in range(3):
        await alice.say("X-Dice", {"number": number}, id=str(number))
    first, _ = await bob.hears(2)
    name = topology.extension_of_clients("X-Dice").name
    await until(lambda: bool(place.server.broker._queues[name]._messages), "the third waits")
    assert await bob.told() == []
    await reply(bob, first["id"], data=1)
    assert (await bob.hear())["data"] == {"number": 2}


async def test_a_fresh_token_without_the_right_ends_a_registration(place: Place) -> None:
    alice, bob = await place.connect("alice"), await registered(place, "bob", "X-Dice", "X-Coin")
    fresh = token("bob", permissions={"extensions": ["X-Coin"]})
    await bob.ask("Authenticate", {"token": fresh})
    await until(lambda: not serves(place, "X-Dice"), "it is not served any more")
    assert (await alice.refused("X-Dice", {}))["code"] == 404
    await alice.say("X-Coin", {}, id="c")
    assert (await bob.hear())["type"] == "X-Coin"


async def test_who_may_not_register_may_unregister_and_that_costs_the_broker_nothing(
    place: Place,
) -> None:
    bob = await place.connect("bob", permissions={})
    held = [len(one.channels) for one in place.server.broker._connections]
    assert (await bob.ask("Unregister", {"types": ["X-Dice"]}))[0]["type"] == "Ack"
    assert [len(one.channels) for one in place.server.broker._connections] == held


async def test_what_is_no_command_is_passed_over(place: Place) -> None:
    alice, bob = await place.connect("alice"), await registered(place, "bob", "X-Dice")
    channel = await (await place.server.broker.connect("stranger")).channel()
    to = topology.queue_address(topology.extension_of_clients("X-Dice"))
    for body, correlation in ((b"junk", "j"), (b"{}", "e"), (b'{"type": "X-Dice"}', "")):
        await channel.publish(body, to, correlation=correlation)
    await alice.say("X-Dice", {}, id="d")
    assert (await bob.hear())["metadata"]["from_user"] == "alice"


async def test_a_client_may_ask_itself(place: Place) -> None:
    bob = await registered(place, "bob", "X-Self")
    await bob.say("X-Self", {}, id="s")
    await reply(bob, (await bob.hear())["id"], data="me")
    assert (await bob.answers("s"))[0]["data"] == "me"


async def test_an_answer_to_an_asker_that_has_gone_with_its_gateway_is_taken(place: Place) -> None:
    bob = await registered(place, "bob", "X-Dice")
    channel = await (await place.server.broker.connect("a gateway that goes")).channel()
    to = topology.queue_address(topology.extension_of_clients("X-Dice"))
    command = b'{"type":"X-Dice","data":{},"from_user":"b","connection_id":"c","sent_at_ms":1}'
    await channel.publish(command, to, reply_to="gone", correlation="one")
    await reply(bob, (await bob.hear())["id"], data=1)
