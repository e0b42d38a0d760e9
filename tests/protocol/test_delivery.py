"""Order, direct messages and the mailbox (R1 to R4)."""

import asyncio
from typing import Any

from tests.component.staging import acknowledging, metadata, payloads
from tests.protocol.conftest import Name
from tests.support.embedded import Message, Place, Talk

BIG = "x" * 60_000


def said(messages: list[Message]) -> list[Any]:
    return payloads(messages, "DirectMessage")


async def send(talk: Talk, user: str, *said: Any, **rest: Any) -> None:
    """Send direct messages and wait for nothing."""
    for payload in said:
        await talk.say("DirectMessage", {"target_user": user, "payload": payload}, **rest)


async def confirm(talk: Talk, *messages: Message) -> None:
    ids = [metadata(one)["message_id"] for one in messages]
    [ack] = await talk.ask("Ack", {"message_ids": ids})
    assert ack["data"]["status"] == "ok"


async def waits(talk: Talk, user: str, payload: Any, **headers: Any) -> bool:
    """Send something to a user who is offline; return whether it waits for them."""
    error, *acks = await talk.direct(user, payload, metadata=headers)
    queued: bool = error["data"]["details"]["queued"]
    assert (error["data"]["code"], len(acks)) == (404, int(queued))
    return queued


# ---- order ---------------------------------------------------------------------------------------


async def test_what_one_connection_says_arrives_in_order(place: Place, name: Name) -> None:
    alice, bob, carol = await place.people(name("alice"), name("bob"), name("carol"))
    for one in (bob, carol):
        await one.subscribe(name("chat"))
    for number in range(100):
        await alice.say("Broadcast", {"topic": name("chat"), "payload": number})
        await send(alice, name("bob"), number)
    heard = await bob.hears(200)
    assert payloads(heard) == said(heard) == list(range(100))
    assert payloads(await carol.hears(100)) == list(range(100))


async def test_replies_come_in_the_order_of_topic_commands_and_of_direct_messages(
    place: Place, name: Name
) -> None:
    alice, _bob = await place.people(name("alice"), name("bob"))
    topic, targets = name("chat"), [name("bob"), name("nobody"), name("bob"), name("carol")] * 5
    for number, target in enumerate(targets):
        kind = ("Subscribe", "Unsubscribe")[number % 2]
        await alice.say(kind, {"topics": [f"{topic}.{number}"]}, id=f"t {3 * number}")
        bad = {"topic": f"{topic}.*", "payload": 1}
        await alice.say("Broadcast", bad, id=f"t {3 * number + 1}")
        await alice.say("Broadcast", {**bad, "topic": topic}, id=f"t {3 * number + 2}")
        await send(alice, target, 1, id=f"d {number}")
    ends: dict[str, list[int]] = {"t": [], "d": []}
    while len(ends["t"]) < 60 or len(ends["d"]) < 20:
        message = await alice.hear()
        queued = message["data"].get("details", {}).get("queued")
        if message["type"] == "Ack" or (message["type"] == "Error" and not queued):
            lane, number_told = message["id"].split()
            ends[lane].append(int(number_told))
    assert ends == {"t": list(range(60)), "d": list(range(20))}


# ---- confirming ----------------------------------------------------------------------------------


async def test_a_plain_client_is_served_when_it_is_written_and_a_confirming_one_when_it_says_so(
    place: Place, name: Name
) -> None:
    alice = await place.connect(name("alice"))
    careful, plain = await acknowledging(place, name("bob")), await place.connect(name("carol"))
    [ack] = await alice.direct(name("carol"), 1)
    assert (ack["data"]["status"], ack["data"]["delivered_to"]) == ("delivered", [plain.id])
    await send(alice, name("bob"), 1, id="d")
    message = await careful.hear()
    assert not await alice.told()
    await confirm(careful, message)
    [ack] = await alice.answers("d")
    assert (ack["data"]["status"], ack["data"]["delivered_to"]) == ("delivered", [careful.id])


async def test_who_confirms_once_must_confirm_and_what_is_not_within_a_second_is_pending(
    place: Place, name: Name
) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    await alice.direct(name("bob"), 1)
    await confirm(bob, await bob.hear())
    [ack] = await alice.direct(name("bob"), 2)
    assert (ack["data"]["status"], ack["data"]["delivered_to"]) == ("pending", [])
    assert said([await bob.hear()]) == [2]


async def test_what_is_not_confirmed_before_its_connection_is_gone_goes_to_the_next_one(
    place: Place, name: Name
) -> None:
    alice, bob = await place.connect(name("alice")), await acknowledging(place, name("bob"))
    await send(alice, name("bob"), 1, id="d")
    first = await bob.hear()
    await bob.close()
    error, ack = await alice.answers("d")
    assert (error["data"]["details"]["queued"], ack["data"]["status"]) == (True, "queued")
    again = await (await place.connect(name("bob"))).hear()
    assert metadata(again).pop("queued") is True
    assert again == first  # the same message id, so that clients can drop it


async def test_what_is_not_confirmed_within_ten_seconds_waits_in_the_mailbox(
    place: Place, name: Name
) -> None:
    alice, bob = await place.connect(name("alice")), await acknowledging(place, name("bob"))
    await send(alice, name("bob"), 1, 2)
    first, second = await bob.hears(2)
    await confirm(bob, second)
    again: list[Message] = []
    async with asyncio.timeout(30):
        while not again:  # the next Ack after that brings it
            await bob.ask("Ack", {"message_ids": ["dm_unknown"]})
            again = await bob.told()
    assert said(again) == [1]
    assert metadata(again[0]).pop("queued") is True
    assert again == [first]


async def test_a_connection_is_written_256_messages_that_it_has_not_confirmed(
    place: Place, name: Name
) -> None:
    alice, bob = await place.connect(name("alice")), await acknowledging(place, name("bob"))
    other = await place.connect(name("other"))
    for number in range(256):
        await send(other if number % 2 else alice, name("bob"), number)
    first = await bob.hears(256)
    assert await waits(alice, name("bob"), 256)
    assert await waits(alice, name("bob"), 257)
    assert not await bob.told()
    await confirm(bob, *first)
    rest = await bob.hears(2)
    assert (sorted(said(first)), said(rest)) == (list(range(256)), [256, 257])


# ---- the mailbox ---------------------------------------------------------------------------------


async def test_what_waited_comes_after_the_welcome_in_order(place: Place, name: Name) -> None:
    alice, witness = await place.people(name("alice"), name("witness"))
    for number in range(5):
        assert await waits(alice, name("bob"), number, own=number)
    await alice.direct(name("witness"), "now")
    now = metadata(await witness.hear())["sent_at_ms"]
    bob = await place.connect(name("bob"))
    assert bob.welcome["server_time_ms"] >= now
    messages = await bob.hears(5)
    assert said(messages) == [0, 1, 2, 3, 4]
    found = [metadata(one) for one in messages]
    assert [(one["queued"], one["own"]) for one in found] == [(True, one) for one in range(5)]
    assert all(one["sent_at_ms"] <= now for one in found)
    twin = await place.connect(name("bob"))
    await alice.direct(name("bob"), "once more")
    for one in (bob, twin):
        assert said([await one.hear()]) == ["once more"]


async def test_one_sender_may_leave_200_messages_and_what_has_expired_takes_no_room(
    place: Place, name: Name
) -> None:
    alice, carol = await place.people(name("alice"), name("carol"))
    await send(alice, name("bob"), *range(200), metadata={"ttl": 5})
    await alice.hears(200)
    assert not await waits(alice, name("bob"), "one too many")
    assert await waits(carol, name("bob"), "another sender")
    while not await waits(alice, name("bob"), "when they have expired"):
        pass
    bob = await place.connect(name("bob"))
    heard = said([await bob.hear()])
    while heard[-1] != "when they have expired":
        heard += said([await bob.hear()])
    assert 0 not in heard
    assert heard[-2:] == ["another sender", "when they have expired"]


async def test_a_mailbox_holds_1000_messages_and_drops_none_for_another(
    place: Place, name: Name
) -> None:
    senders = await place.people(*(name(f"sender{number}") for number in range(6)))
    for number, sender in enumerate(senders[:5]):
        await send(sender, name("bob"), *range(200 * number, 200 * (number + 1)))
        heard = await sender.hears(200)
        assert all(one["data"]["details"]["queued"] for one in heard)
    assert not await waits(senders[5], name("bob"), "one too many")
    bob = await place.connect(name("bob"))
    assert said(await bob.hears(1000)) == list(range(1000))
    assert not await bob.told()


async def test_a_mailbox_holds_one_mebibyte(place: Place, name: Name) -> None:
    alice = await place.connect(name("alice"))
    outcomes = [await waits(alice, name("bob"), BIG) for _ in range(18)]
    assert outcomes == [True] * 17 + [False]
    assert await waits(alice, name("bob"), "small")


# ---- several connections -------------------------------------------------------------------------


async def test_a_direct_message_goes_to_all_connections_of_its_user(
    place: Place, name: Name
) -> None:
    alice, phone, laptop, carol = await place.people(
        *(name(one) for one in ("alice", "bob", "bob", "carol"))
    )
    twin = await place.connect(name("alice"))
    for target, connections in ((name("bob"), [phone, laptop]), (name("alice"), [alice, twin])):
        [ack] = await alice.direct(target, target)
        assert sorted(ack["data"]["delivered_to"]) == sorted(one.id for one in connections)
        assert [said(await one.told()) for one in connections] == [[target]] * 2
    assert not await carol.told()


async def test_an_unknown_user_and_an_offline_one_look_alike(place: Place, name: Name) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    await bob.close()
    while (await alice.direct(name("bob"), 1, metadata={"ttl": 0}))[0]["type"] == "Ack":
        pass  # until it is known that bob has gone
    answers = []
    for user in (name("bob"), name("nobody")):
        error, ack = await alice.direct(user, 1, id="same")
        ack["data"].pop("server_message_id")
        await alice.ask("Presence", {"status": "away"})
        answers.append(str([error, ack]).replace(user, "*"))
        alice = await place.connect(name("alice"))  # an id names one command
    assert answers[0] == answers[1]
