"""A client that confirms slowly holds up nobody, loses nothing and keeps its order (R1, R2)."""

import asyncio

import pytest

from gateway.uplink import Uplink
from shared.messages.envelopes import DirectMessageReturned
from tests.component.conftest import Start
from tests.component.staging import (
    Stall,
    acknowledging,
    metadata,
    payloads,
    waits_for,
)
from tests.support.embedded import Message, Place, Talk, until

BOUND = 256


async def send(talk: Talk, user: str, first: int, last: int) -> None:
    for number in range(first, last + 1):
        await talk.say("DirectMessage", {"target_user": user, "payload": number})


async def confirm(talk: Talk, messages: list[Message]) -> None:
    """Confirm what was heard and wait for nothing."""
    await talk.say("Ack", {"message_ids": [metadata(one)["message_id"] for one in messages]})


def said(messages: list[Message]) -> list[int]:
    return payloads(messages, "DirectMessage")


class Counted:
    """Counts the messages that are handed back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.returned = 0
        returned = Uplink.returned

        def count(uplink: Uplink, command: DirectMessageReturned) -> object:
            self.returned += 1
            return returned(uplink, command)

        monkeypatch.setattr(Uplink, "returned", count)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


async def test_one_connection_is_written_256_messages_and_the_rest_waits(
    place: Place, counted: Counted
) -> None:
    alice = await place.connect("alice")
    bob = await acknowledging(place, "bob")
    await send(alice, "bob", 1, BOUND + 44)
    heard = await bob.hears(BOUND)
    assert said(heard) == list(range(1, BOUND + 1))
    await alice.told()
    await until(lambda: waits_for(place, "bob") == 44, "the rest waits")
    assert counted.returned <= 44
    assert not await bob.told()
    [*_, ack] = await alice.direct("alice", "others")
    assert ack["data"]["status"] == "delivered"

    await confirm(bob, heard)
    assert said(await bob.hears(44)) == list(range(BOUND + 1, BOUND + 45))


@pytest.mark.parametrize("at_a_time", [1, 20])
async def test_nothing_overtakes_what_waits_for_a_client_that_confirms_slowly(
    start: Start, at_a_time: int
) -> None:
    place = await start(mailbox_per_sender=1000)
    alice = await place.connect("alice")
    bob = await acknowledging(place, "bob")
    total = 2 * BOUND
    await send(alice, "bob", 1, BOUND + 20)
    speaking = asyncio.create_task(send(alice, "bob", BOUND + 21, total))
    heard: list[Message] = []
    while len(heard) < total:
        heard += await bob.hears(min(at_a_time, total - len(heard)))
        await confirm(bob, heard[-at_a_time:])
    await speaking
    assert said(heard) == list(range(1, total + 1))


async def test_what_comes_while_older_messages_wait_comes_after_them(place: Place) -> None:
    alice = await place.connect("alice")
    bob = await acknowledging(place, "bob")
    await send(alice, "bob", 1, BOUND + 5)
    heard = await bob.hears(BOUND)
    await until(lambda: waits_for(place, "bob") == 5, "the rest waits")
    await alice.told()
    await confirm(bob, heard[:1])
    await send(alice, "bob", BOUND + 6, BOUND + 6)
    assert said([await bob.hear()]) == [BOUND + 1]
    await confirm(bob, heard[1:])
    assert said(await bob.hears(5)) == list(range(BOUND + 2, BOUND + 7))


async def test_what_was_on_its_way_when_room_was_made_comes_after_what_waits(
    place: Place,
) -> None:
    alice = await place.connect("alice")
    bob = await acknowledging(place, "bob")
    await send(alice, "bob", 1, BOUND + 5)
    heard = await bob.hears(BOUND)
    await until(lambda: waits_for(place, "bob") == 5, "the rest waits")
    with Stall("presence.commands") as stall:
        await send(alice, "bob", BOUND + 6, BOUND + 6)
        await until(lambda: stall.waiting > 0, "it is on its way")
        await confirm(bob, heard)
        await bob.told()
        stall.open()
    assert said(await bob.hears(6)) == list(range(BOUND + 1, BOUND + 7))


async def test_a_full_mailbox_is_drained_without_handing_it_to_and_fro(
    start: Start, counted: Counted
) -> None:
    """Each message may come back a few times, but not once for each that is confirmed."""
    place = await start(mailbox_per_sender=1000)
    alice = await place.connect("alice")
    total = 600
    for number in range(1, total + 1):
        await alice.direct("bob", number)
    bob = await acknowledging(place, "bob")
    heard: list[Message] = []
    while len(heard) < total:
        heard.append(await bob.hear())
        await confirm(bob, heard[-1:])
    assert said(heard) == list(range(1, total + 1))
    assert counted.returned < 5 * total
