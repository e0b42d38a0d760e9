"""Clients that confirm direct messages (R2, A5)."""

import time

import pytest

from gateway import unconfirmed
from tests.component.staging import (
    acknowledging,
    held_by_consumers,
    lose_inbox,
    metadata,
    payloads,
)
from tests.support.embedded import Message, Place, Talk, until


def ids(messages: list[Message]) -> list[str]:
    return [metadata(one)["message_id"] for one in messages]


def said(messages: list[Message]) -> list[object]:
    return payloads(messages, "DirectMessage")


async def confirm(talk: Talk, *messages: Message) -> None:
    """Confirm what was heard."""
    [ack] = await talk.ask("Ack", {"message_ids": ids(list(messages))})
    assert ack["data"]["status"] == "ok"


async def send(talk: Talk, user: str, *said: object) -> None:
    """Send direct messages and wait for nothing."""
    for payload in said:
        await talk.say("DirectMessage", {"target_user": user, "payload": payload})


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give clients little time to confirm."""
    monkeypatch.setattr(unconfirmed, "CONFIRM_SECONDS", 0.2)


async def lapsed(talk: Talk, place: Place) -> None:
    """Wait until a client has let everything pass, and it waits elsewhere."""
    connection = place.server.node.connections.get(talk.id)
    assert connection is not None
    await until(lambda: connection.has_lapsed, "its time is up")
    await until(lambda: not held_by_consumers(place, "direct."), "it is handed back")
    await until(lambda: not held_by_consumers(place, "presence.commands."), "and kept")


# ---- what the sender hears -----------------------------------------------------------------------


async def test_a_message_is_delivered_once_its_client_has_confirmed_it(place: Place) -> None:
    alice = await place.connect("alice")
    bob = await acknowledging(place, "bob")
    await alice.say("DirectMessage", {"target_user": "bob", "payload": 1}, id="1")
    message = await bob.hear()
    assert not await alice.told()
    await confirm(bob, message)
    [ack] = await alice.answers("1")
    assert (ack["data"]["status"], ack["data"]["delivered_to"]) == ("delivered", [bob.id])
    assert ack["data"]["server_message_id"] == ids([message])[0]


async def test_a_message_that_is_not_confirmed_within_a_second_is_pending(place: Place) -> None:
    alice = await place.connect("alice")
    bob = await acknowledging(place, "bob")
    began = time.monotonic()
    [ack] = await alice.direct("bob", 1, id="1")
    assert 0.8 < time.monotonic() - began < 2.0
    [message] = await bob.told()
    assert ack["data"] == {
        "message_id": "1",
        "status": "pending",
        "delivered_to": [],
        "server_message_id": ids([message])[0],
    }


async def test_one_connection_that_has_a_message_is_enough_for_its_sender(place: Place) -> None:
    alice, plain = await place.people("alice", "bob")
    careful = await acknowledging(place, "bob")
    [ack] = await alice.direct("bob", 1)
    assert ack["data"]["delivered_to"] == [plain.id]
    assert said(await careful.told()) == said(await plain.told()) == [1]


async def test_an_ack_is_answered_if_it_has_an_id_and_may_name_what_nobody_knows(
    place: Place,
) -> None:
    bob = await acknowledging(place, "bob")
    [ack] = await bob.ask("Ack", {"message_ids": ["dm_unknown"]}, id="a")
    assert ack == {"type": "Ack", "data": {"message_id": "a", "status": "ok"}, "id": "a"}
    await bob.say("Ack", {"message_ids": ["dm_unknown"]})
    assert not await bob.told()


@pytest.mark.parametrize(
    "message_ids", [None, [], "dm_1", [1], [""], ["x" * 129], ["dm"] * 257], ids=repr
)
async def test_a_bad_ack_is_a_bad_request(place: Place, message_ids: object) -> None:
    bob = await acknowledging(place, "bob")
    error = await bob.refused("Ack", {"message_ids": message_ids})
    assert error["code"] == 400
    assert error["details"]["field"].startswith("data.message_ids")


# ---- who confirms --------------------------------------------------------------------------------


async def test_a_plain_client_becomes_acknowledging_by_its_first_ack(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    assert (await alice.direct("bob", 1))[0]["data"]["status"] == "delivered"
    await confirm(bob, *await bob.told())
    assert (await alice.direct("bob", 2))[0]["data"]["status"] == "pending"


async def test_an_ack_for_what_it_was_never_sent_does_not_make_a_client_acknowledging(
    place: Place,
) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.ask("Ack", {"message_ids": ["dm_unknown"]})
    assert (await alice.direct("bob", 1))[0]["data"]["status"] == "delivered"


async def test_the_broker_keeps_a_message_until_it_is_confirmed(place: Place) -> None:
    alice = await place.connect("alice")
    bob = await acknowledging(place, "bob")
    await send(alice, "bob", 1, 2)
    messages = await bob.hears(2)
    assert held_by_consumers(place, "direct.") > 0
    await confirm(bob, messages[1])
    assert held_by_consumers(place, "direct.") > 0
    await confirm(bob, messages[0])
    await until(lambda: not held_by_consumers(place, "direct."), "all is acknowledged")


async def test_a_batch_is_acknowledged_when_plain_and_acknowledging_clients_have_all_of_it(
    place: Place,
) -> None:
    alice = await place.connect("alice")
    bob, carol = await acknowledging(place, "bob"), await place.connect("carol")
    await send(alice, "bob", 1)
    await send(alice, "carol", 2)
    await send(alice, "bob", 3)
    assert said([await carol.hear()]) == [2]
    assert held_by_consumers(place, "direct.") > 0
    await confirm(bob, *await bob.hears(2))
    await until(lambda: not held_by_consumers(place, "direct."), "all is acknowledged")


# ---- what is not confirmed -----------------------------------------------------------------------


@pytest.mark.usefixtures("hasty")
async def test_what_is_not_confirmed_in_time_waits_for_the_next_connection(place: Place) -> None:
    alice = await place.connect("alice")
    bob = await acknowledging(place, "bob")
    await send(alice, "bob", 1, 2, 3)
    first = await bob.hears(3)
    await confirm(bob, first[1])
    await lapsed(bob, place)

    again = await (await place.connect("bob")).hears(2)
    assert said(again) == [1, 3]
    assert ids(again) == ids([first[0], first[2]])
    assert [metadata(one)["sent_at_ms"] for one in again] == [
        metadata(first[one])["sent_at_ms"] for one in (0, 2)
    ]
    assert all(metadata(one)["queued"] for one in again)


@pytest.mark.usefixtures("hasty")
async def test_what_was_not_confirmed_comes_back_when_the_client_confirms_again(
    place: Place,
) -> None:
    alice = await place.connect("alice")
    bob = await acknowledging(place, "bob")
    await send(alice, "bob", 1, 2)
    first = await bob.hears(2)
    await lapsed(bob, place)

    await confirm(bob, first[0])  # late, but now it is known: only the other one comes back
    again = await bob.hear()
    assert ids([again]) == ids(first[1:])
    await confirm(bob, again)
    carol = await place.connect("bob")
    await send(alice, "bob", 3)
    assert said([await carol.hear()]) == [3]


@pytest.mark.usefixtures("hasty")
async def test_what_waited_and_is_not_confirmed_goes_to_another_connection_that_is_there(
    place: Place,
) -> None:
    alice = await place.connect("alice")
    await alice.direct("bob", 1)
    await acknowledging(place, "bob")  # it is drained to this one, which never confirms
    plain = await place.connect("bob")
    assert said([await plain.hear()]) == [1]


@pytest.mark.usefixtures("hasty")
async def test_what_one_connection_let_pass_is_served_once_another_confirms_it(
    place: Place,
) -> None:
    alice = await place.connect("alice")
    one, other = [await acknowledging(place, "bob") for _ in range(2)]
    await send(alice, "bob", 1)
    await one.hear()
    await confirm(other, await other.hear())
    connection = place.server.node.connections.get(one.id)
    assert connection is not None
    await until(lambda: connection.has_lapsed, "its time is up")
    third = await place.connect("bob")
    await send(alice, "bob", 2)
    assert said([await third.hear()]) == [2]


@pytest.mark.usefixtures("hasty")
async def test_a_message_that_is_never_confirmed_does_not_hold_up_the_later_ones(
    place: Place,
) -> None:
    alice = await place.connect("alice")
    bob = await acknowledging(place, "bob")
    await send(alice, "bob", "never confirmed")
    await bob.hear()
    await lapsed(bob, place)
    for number in (1, 2):
        await send(alice, "bob", number)
        message = await bob.hear()
        while said([message]) != [number]:  # the first one may come back in between
            message = await bob.hear()
        await confirm(bob, message)


async def test_a_connection_that_goes_without_confirming_leaves_its_messages_to_the_mailbox(
    place: Place,
) -> None:
    alice = await place.connect("alice")
    bob = await acknowledging(place, "bob")
    await alice.say("DirectMessage", {"target_user": "bob", "payload": 1}, id="1")
    first = await bob.hear()
    await bob.close()
    error, ack = await alice.answers("1")
    assert error["data"]["details"]["queued"] is True
    assert ack["data"]["status"] == "queued"

    again = await (await place.connect("bob")).hear()
    assert ids([again]) == ids([first])
    assert metadata(again)["queued"] is True


async def test_what_a_connection_has_not_confirmed_the_next_one_has_at_once(
    place: Place,
) -> None:
    """The first one may be gone without having said so: later messages would come before it."""
    alice = await place.connect("alice")
    await alice.direct("bob", 1)
    bob = await acknowledging(place, "bob")
    first = await bob.hear()
    plain = await place.connect("bob")
    assert ids([await plain.hear()]) == ids([first])
    await alice.direct("bob", 2)
    await bob.close()
    assert said(await plain.told()) == [2]


async def test_what_comes_again_from_the_broker_is_not_written_twice(place: Place) -> None:
    alice = await place.connect("alice")
    careful = await acknowledging(place, "bob")
    await send(alice, "bob", 1)
    message = await careful.hear()
    await lose_inbox(place)
    await until(lambda: held_by_consumers(place, "direct.") > 0, "it comes again")
    assert not await careful.told()
    await confirm(careful, message)
    await until(lambda: not held_by_consumers(place, "direct."), "both are acknowledged")
