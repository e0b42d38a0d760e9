"""What owners know outlives them: their channel is cut, and whoever is next has read the log."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from shared.ownership import reign
from tests.component.conftest import Clock, Start
from tests.component.staging import (
    Stall,
    end_reigns,
    held_by_consumers,
    history,
    logged,
    metadata,
    payloads,
    recover,
    terms,
    waiting_in,
)
from tests.support.embedded import Gate, Message, Place, Talk, until

Remember: TypeAlias = Callable[[str], Awaitable[None]]


async def checkpointed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every partition make a checkpoint; return when all have."""
    replicas = (place.server.router, place.server.presence.replica)
    reigns = [seat.reign for replica in replicas for seat in replica._seats if seat.reign]
    assert len(reigns) == 2 * place.server.settings.partitions
    with monkeypatch.context() as now:
        now.setattr(reign, "CHECKPOINT_SECONDS", 0.0)
        await until(lambda: not any(one._log.has_grown for one in reigns), "all is in checkpoints")


@pytest.fixture(params=["from the start", "from a checkpoint"])
async def remember(
    request: pytest.FixtureRequest, place: Place, monkeypatch: pytest.MonkeyPatch
) -> Remember:
    """Let the owners go on from their log's start, or from a checkpoint."""

    async def remembered(service: str) -> None:
        if request.param == "from a checkpoint":
            await checkpointed(place, monkeypatch)
        await end_reigns(place, service)

    return remembered


def said(messages: list[Message]) -> list[object]:
    return payloads(messages, "DirectMessage")


# ---- topics --------------------------------------------------------------------------------------


async def test_history_goes_on_where_it_was(place: Place, remember: Remember) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("chat.#")
    for topic in ("chat.a", "chat.b"):
        for number in (1, 2, 3):
            await alice.broadcast(topic, number)
    before = [await history(alice, topic) for topic in ("chat.a", "chat.b")]
    await remember("router")

    assert [await history(alice, topic) for topic in ("chat.a", "chat.b")] == before
    await alice.broadcast("chat.a", 4)
    heard = [metadata(one) for one in (await bob.told())[-1:]]
    assert [(one["offset"], one["epoch"]) for one in heard] == [(4, before[0]["epoch"])]


async def test_who_missed_something_recovers_it_from_the_next_owner(
    place: Place, remember: Remember
) -> None:
    alice, bob, carol = await place.people("alice", "bob", "carol")
    for number in (1, 2, 3):
        await alice.broadcast("chat.a", number)
    page = await history(alice, "chat.a")
    epoch, first = page["epoch"], metadata(page["messages"][0])
    await remember("router")
    await alice.broadcast("chat.a", 4)

    details = await recover(bob, {"chat.a": {"offset": 1, "epoch": epoch}})
    assert details["recovered"] == {"chat.a": True}
    assert payloads(await bob.told()) == [2, 3, 4]
    details = await recover(carol, {"chat.*": {"since": first["sent_at_ms"]}})
    assert details["recovered"] == {"chat.*": True}
    assert payloads(await carol.told()) == [1, 2, 3, 4]


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "live only"])
async def test_a_broadcast_under_a_used_key_is_the_same_one_for_the_next_owner(
    place: Place,
    remember: Remember,
    kept: bool,
) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("chat.a")
    headers = {"idempotency_key": "k"} | ({} if kept else {"ttl": 0})
    first = await alice.broadcast("chat.a", 1, metadata=headers)
    await remember("router")
    again = await alice.broadcast("chat.a", 1, metadata=headers)
    assert again["server_message_id"] == first["server_message_id"]
    assert again["recipients"] == first["recipients"] == 1
    assert payloads(await bob.told()) == [1]
    assert len((await history(alice, "chat.a"))["messages"]) == kept


async def test_commands_that_wait_while_nobody_reigns_are_carried_out_once_and_in_order(
    place: Place,
) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("chat.a")
    with Gate("inbox") as gate:
        for number in range(1, 41):
            await alice.say("Broadcast", {"topic": "chat.a", "payload": number})
        await gate.held.wait()
        place.server.broker.cut(f"router {place.server.settings.node_id}")
        gate.open()
    heard = await bob.hears(40)
    assert payloads(heard) == list(range(1, 41))
    assert [metadata(one)["offset"] for one in heard] == list(range(1, 41))
    assert not await bob.told()


# ---- mailboxes -----------------------------------------------------------------------------------


async def test_mailboxes_keep_order_and_limits(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = await start(mailbox_per_sender=3)
    alice, carol = await place.people("alice", "carol")
    for number in (1, 2, 3):
        await alice.direct("bob", number)
    await end_reigns(place, "presence")
    assert len(await alice.direct("bob", 4)) == 1  # the limit holds
    assert len(await carol.direct("bob", 5)) == 2
    await checkpointed(place, monkeypatch)
    await end_reigns(place, "presence")
    assert len(await alice.direct("bob", 6)) == 1

    heard = await (await place.connect("bob")).hears(4)
    assert said(heard) == [1, 2, 3, 5]
    assert all(metadata(one)["queued"] for one in heard)


async def test_what_was_drained_does_not_come_again_from_the_next_owner(
    place: Place,
    remember: Remember,
) -> None:
    alice = await place.connect("alice")
    await alice.direct("bob", 1)
    bob = await place.connect("bob")
    assert said([await bob.hear()]) == [1]
    await bob.close()
    await place.server.forgotten("bob")
    await remember("presence")
    again = await place.connect("bob")
    await alice.direct("bob", 2)
    assert said(await again.told()) == [2]


async def test_a_drain_that_is_cut_short_loses_nothing(place: Place) -> None:
    alice = await place.connect("alice")
    for number in range(1, 101):
        await alice.direct("bob", number)
    with Gate("direct.") as gate:
        bob = await place.connect("bob")
        await gate.held.wait()
        place.server.broker.cut(f"presence {place.server.settings.node_id}")
        await until(lambda: place.server.presence.replica.owned == 0, "the reigns are over")
        gate.open()
    heard = await bob.hears(100)
    assert said(heard) == list(range(1, 101))
    partitions = place.server.settings.partitions
    await until(lambda: place.server.presence.replica.owned == partitions, "others reign")
    await alice.direct("bob", "after")
    assert said(await bob.told()) == ["after"]


async def test_a_direct_message_under_a_used_key_is_the_same_one_for_the_next_owner(
    place: Place,
    remember: Remember,
) -> None:
    alice, bob = await place.people("alice", "bob")
    headers = {"idempotency_key": "k"}
    [first] = await alice.direct("bob", 1, metadata=headers)
    await remember("presence")
    [again] = await alice.direct("bob", 1, metadata=headers)
    assert again["data"]["server_message_id"] == first["data"]["server_message_id"]
    assert again["data"]["delivered_to"] == [bob.id]
    assert said(await bob.told()) == [1]


async def test_a_message_under_a_used_key_is_not_delivered_to_a_later_connection(
    place: Place,
) -> None:
    alice, bob = await place.people("alice", "bob")
    headers = {"idempotency_key": "k"}
    await alice.direct("bob", 1, metadata=headers)
    await bob.close()
    await place.server.forgotten("bob")
    again = await place.connect("bob")
    await alice.direct("bob", 1, metadata=headers)
    assert not await again.told()


# ---- presence ------------------------------------------------------------------------------------


async def watched(place: Place, *users: str) -> Talk:
    """Return somebody who has heard that these users are here."""
    watcher = await place.connect("watcher")
    await watcher.subscribe(*(f"presence.{user}" for user in users))
    await watcher.hears(len(users))
    return watcher


async def test_nobody_is_announced_again_by_the_next_owner(
    place: Place, remember: Remember
) -> None:
    await place.people("bob", "carol")
    watcher = await watched(place, "bob", "carol")
    await remember("presence")
    dave = await place.connect("dave")
    await dave.direct("bob", "fence")
    assert not await watcher.told()


async def test_who_left_while_nobody_reigned_is_announced_after_the_grace(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    bob, _carol = await place.people("bob", "carol")
    watcher = await watched(place, "bob", "carol")
    with Stall("presence.commands"):
        await bob.close()
        await place.server.forgotten("bob")
        await end_presence(place)
    await until(lambda: place.server.presence.replica.owned == 2, "others reign")
    await until(lambda: not waiting_in(place, "presence.commands"), "all is told")
    await until(lambda: not held_by_consumers(place, "presence.commands"), "and done")
    assert not await watcher.told()
    clock.now_ms += 6000
    gone = await watcher.hear()
    assert (gone["data"]["user_id"], gone["data"]["status"]) == ("bob", "offline")
    assert not await watcher.told()


async def end_presence(place: Place) -> None:
    """Cut the presence service off; nobody reigns until something arrives."""
    replica = place.server.presence.replica
    place.server.broker.cut(f"presence {place.server.settings.node_id}")
    await until(lambda: not terms(replica), "the reigns are over")
    assert logged(place, "presence")
    await until(lambda: replica.ready, "it stands by")
