"""Deliveries that are lost on their way to a gateway are had again from the owners (gap replay)."""

import asyncio

import pytest
from msgspec import Raw

from shared.broker import topology
from shared.messages import codec
from shared.messages.deliveries import DeliveryBatch, DirectDelivery
from shared.partitions import partition_of
from tests.component.conftest import Start
from tests.component.staging import (
    Stall,
    end_reigns,
    held_by_consumers,
    lose_inbox,
    metadata,
    payloads,
    topic_of,
    waiting_in,
)
from tests.support.embedded import Gate, Message, Place, Talk, until


async def say(talk: Talk, topic: str, *said: object, **rest: object) -> None:
    """Broadcast and wait for nothing."""
    for payload in said:
        await talk.say("Broadcast", {"topic": topic, "payload": payload}, **rest)


def drop_inbox(place: Place) -> None:
    """Lose what waits in the gateway's inbox, and nothing else."""
    for name, queue in place.server.broker._queues.items():
        if name.startswith("inbox."):
            queue._messages.clear()


async def lose_next(place: Place, talk: Talk, topic: str, *said: object, **rest: object) -> None:
    """Broadcast something that is lost in the gateway's inbox."""
    with Stall("inbox") as stall:
        await say(talk, topic, *said, **rest)
        await until(lambda: stall.waiting > 0, "it waits in the inbox")
        await until(lambda: not held_by_consumers(place, "router.commands"), "all is delivered")
        drop_inbox(place)


def offsets(messages: list[Message]) -> list[int]:
    return [metadata(one)["offset"] for one in messages]


async def test_a_gap_is_healed_before_anything_later_is_delivered(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("chat.a")
    await say(alice, "chat.a", 1)
    assert payloads([await bob.hear()]) == [1]
    await lose_next(place, alice, "chat.a", 2, 3)
    await say(alice, "chat.a", 4, 5)
    heard = await bob.hears(4)
    assert payloads(heard) == [2, 3, 4, 5]
    assert offsets(heard) == [2, 3, 4, 5]
    await alice.broadcast("chat.a", 6)
    assert payloads(await bob.told()) == [6]


async def test_a_gap_is_healed_also_if_what_shows_it_is_live_only(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("chat.a")
    await alice.broadcast("chat.a", 1)
    await lose_next(place, alice, "chat.a", 2)
    await alice.broadcast("chat.a", 3, metadata={"ttl": 0})
    await alice.broadcast("chat.a", 4)
    assert payloads(await bob.told()) == [1, 2, 3, 4]


async def test_who_subscribes_after_a_gap_gets_nothing_that_was_said_before(place: Place) -> None:
    alice, bob, carol = await place.people("alice", "bob", "carol")
    await bob.subscribe("chat.a")
    await alice.broadcast("chat.a", 1)
    other = topic_of(partition_of("chat.a", 2))
    for number in (1, 2, 3):
        await alice.broadcast(other, f"old {number}")
    await lose_next(place, alice, "chat.a", 2)
    await carol.subscribe(other)
    await alice.broadcast("chat.a", 3)
    assert payloads(await bob.hears(3)) == [1, 2, 3]
    assert not await carol.told()


async def test_a_new_boot_has_again_what_the_lost_inbox_held(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("chat.a", "chat.*")
    await alice.broadcast("chat.a", 1)
    with Stall("inbox") as stall:
        await say(alice, "chat.a", 2, 3)
        await until(lambda: stall.waiting > 0, "they wait in the inbox")
        await until(lambda: not held_by_consumers(place, "router.commands"), "all is delivered")
        place.server.broker.cut(f"gateway {place.server.settings.node_id} consume")
        await until(lambda: not place.server.node.membership.ready, "the loss is noticed")
    await until(lambda: place.server.ready, "a new boot is ready")
    await alice.broadcast("chat.a", 4)
    heard = await bob.hears(4)
    assert payloads(heard) == [1, 2, 3, 4]
    assert not await bob.told()


async def test_live_subscribers_see_no_gap_while_inboxes_are_lost(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("chat.a")
    said = 0
    done = asyncio.Event()

    async def speak() -> None:
        nonlocal said
        while not done.is_set():
            await say(alice, "chat.a", said := said + 1)
            await asyncio.sleep(0.01)

    await alice.broadcast("chat.a", 0)
    speaking = asyncio.create_task(speak())
    for _ in range(3):
        await lose_inbox(place)
        ready = said
        await until(lambda: said > ready + 20, "people go on speaking")  # noqa: B023
    done.set()
    await speaking
    await alice.broadcast("chat.a", "end")
    heard = [await bob.hear()]
    while payloads(heard[-1:]) != ["end"]:
        heard.append(await bob.hear())
    refused = sum(one["type"] == "Error" for one in await alice.told())
    numbers = payloads(heard)[:-1]
    assert numbers == sorted(numbers)
    assert offsets(heard) == list(range(1, len(heard) + 1))
    assert len(numbers) >= said + 1 - refused  # of a 503 the outcome is unknown


async def test_the_first_broadcast_of_a_partition_is_not_lost_with_the_inbox(place: Place) -> None:
    """The subscriber has its Status (T9), but the node has not heard of the partition yet."""
    alice, bob = await place.people("alice", "bob")
    with Stall("inbox") as stall:
        await bob.subscribe("chat.a")
        await say(alice, "chat.a", 1)
        await until(lambda: stall.waiting > 0, "it waits in the inbox")
        place.server.broker.cut(f"gateway {place.server.settings.node_id} consume")
        await until(lambda: not place.server.node.membership.ready, "the loss is noticed")
    await until(lambda: place.server.ready, "a new boot is ready")
    await alice.broadcast("chat.a", 2)
    assert payloads(await bob.told()) == [1, 2]


async def overfill(place: Place, alice: Talk) -> None:
    """Say ten things of which the inbox takes three."""
    for number in range(2, 12):
        await say(alice, "chat.a", number)
        await alice.told()
        await until(lambda: not held_by_consumers(place, "router.commands"), "it is performed")
    assert waiting_in(place, "inbox.") == 3


async def test_a_full_inbox_is_healed_by_a_mark(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology, "INBOX_LIMIT", 3)
    place = await start()
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("chat.a")
    await alice.broadcast("chat.a", 1)
    with Stall("inbox"):
        await overfill(place, alice)
    heard = await bob.hears(11)  # and nobody speaks any more
    assert payloads(heard) == list(range(1, 12))
    assert not await bob.told()


async def test_a_full_inbox_is_healed_also_if_the_reign_ends(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology, "INBOX_LIMIT", 3)
    place = await start()
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("chat.a")
    await alice.broadcast("chat.a", 1)
    with Stall("inbox"):
        await overfill(place, alice)
        await end_reigns(place, "router")
    await alice.broadcast("chat.a", 12)
    assert payloads(await bob.hears(12)) == list(range(1, 13))


async def test_a_replay_that_the_next_owner_answers_before_it_knows_who_wants_what_is_whole(
    place: Place,
) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("chat.a")
    await alice.broadcast("chat.a", 1)
    await lose_next(place, alice, "chat.a", 2)
    with Gate("router.commands") as gate:
        tell_of_a_gap(place)
        await gate.held.wait()
        place.server.broker.cut(f"router {place.server.settings.node_id}")
        await until(lambda: place.server.router.owned == 0, "the reigns are over")
        await until(lambda: place.server.router.ready, "it stands by")
        gate.open()
    await alice.broadcast("chat.a", 3)
    assert payloads(await bob.hears(3)) == [1, 2, 3]


def tell_of_a_gap(place: Place) -> None:
    """Have the owners tell how far they have come."""
    for seat in place.server.router._seats:
        if seat.reign is not None:
            for inbox in seat.reign._sequences:
                seat.reign.owner.fell_behind(inbox.queue)


# ---- direct messages that no gateway has taken ---------------------------------------------------


async def put_aside(place: Place, *deliveries: DirectDelivery) -> None:
    channel = await (await place.server.broker.connect("the broker")).channel()
    items = [Raw(codec.encode(one)) for one in deliveries]
    body = codec.encode(DeliveryBatch(0, 1, 1, 0, items))
    await channel.publish(body, topology.queue_address(topology.UNDELIVERED), persistent=True)


def delivery(message_id: str, user: str) -> DirectDelivery:
    return DirectDelivery(message_id, user, "alice", b'"hi"', b"", 2**41, "", "", ["gone"])


async def test_what_no_gateway_took_reaches_its_user_or_their_mailbox(place: Place) -> None:
    bob = await place.connect("bob")
    await put_aside(place, delivery("dm_1", "bob"), delivery("dm_2", "carol"))
    assert metadata(await bob.hear())["message_id"] == "dm_1"
    await until(lambda: not waiting_in(place, "undelivered"), "all is moved")
    carol = await place.connect("carol")
    message = await carol.hear()
    assert metadata(message)["message_id"] == "dm_2"
    assert metadata(message)["queued"] is True


async def test_what_comes_twice_out_of_the_undelivered_is_heard_once(place: Place) -> None:
    bob = await place.connect("bob")
    for _ in range(2):
        await put_aside(place, delivery("dm_1", "bob"))
    await put_aside(place, delivery("dm_2", "bob"))
    assert [metadata(one)["message_id"] for one in await bob.hears(2)] == ["dm_1", "dm_2"]
