"""Recovering while others speak, and for clients that read slowly, change their mind or go (H4)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.connection import Connection
from gateway.outbox import Written
from tests.component.conftest import Start
from tests.component.staging import Stall, payloads, place_of, recover
from tests.support.embedded import Gate, Message, Place, Talk, until

EVERYTHING = {"since": 0}
BIG = "x" * 60_000
BOUND = 300_000
LONG = {"#": {"messages": 1000, "seconds": 300}}


@asynccontextmanager
async def speaking(place: Place, topic: str) -> AsyncIterator[list[int]]:
    """Have somebody count aloud all the time; yield what was said."""
    speaker, said = await place.connect("speaker"), [0]

    async def speak() -> None:
        while True:
            await speaker.broadcast(topic, said[0] + 1)
            said[0] += 1

    task = asyncio.create_task(speak())
    try:
        yield said
    finally:
        task.cancel()
        await asyncio.wait([task])


def connection_of(place: Place, talk: Talk) -> Connection:
    """Return a client's connection as the gateway has it."""
    connection = place.server.node.connections.get(talk.id)
    assert connection is not None
    return connection


async def hear_up_to(talk: Talk, last: int) -> list[Message]:
    heard = [await talk.hear()]
    while (payloads(heard[-1:]) or [0])[0] < last:
        heard.append(await talk.hear())
    return heard


async def begin(talk: Talk, *topics: str) -> None:
    """Ask for everything of some topics, and wait for nothing."""
    starts = dict.fromkeys(topics, EVERYTHING)
    await talk.say("Subscribe", {"topics": topics, "recover": starts})


async def test_between_what_was_missed_and_what_is_said_now_there_is_no_gap_and_no_double(
    start: Start,
) -> None:
    place = await start(history=LONG)
    async with speaking(place, "chat.a") as said:
        for number in range(10):
            await until(lambda: said[0] > 20 * number, "more was said")  # noqa: B023
            bob = await place.connect("bob")
            await begin(bob, "chat.a", "chat.*")
            status, *heard = await hear_up_to(bob, said[0] + 10)
            assert status["type"] == "Status"
            assert payloads(heard) == list(range(1, len(heard) + 1))
            await bob.close()


async def test_who_comes_back_goes_on_where_it_was_cut_off(start: Start) -> None:
    place = await start(history=LONG)
    async with speaking(place, "chat.a") as said:
        bob = await place.connect("bob")
        await begin(bob, "chat.a")
        heard = (await hear_up_to(bob, 30))[1:]
        for _ in range(5):
            await bob.close()
            bob = await place.connect("bob")
            last = heard[-1]["data"]["metadata"]
            place_of_last = {"offset": last["offset"], "epoch": last["epoch"]}
            details = await recover(bob, {"chat.a": place_of_last})
            assert details["recovered"] == {"chat.a": True}
            heard += await hear_up_to(bob, said[0] + 5)
    assert payloads(heard) == list(range(1, len(heard) + 1))


async def test_what_lags_in_the_inbox_is_not_sent_again_after_its_replay(place: Place) -> None:
    """The owner's answers may overtake its deliveries: they come through different queues."""
    alice, bob = await place.people("alice", "bob")
    await alice.subscribe("chat.a")
    with Stall("inbox") as stall:
        await bob.say("Broadcast", {"topic": "chat.a", "payload": 1})
        await until(lambda: stall.waiting > 0, "it waits in the inbox")
        carol = await place.connect("carol")
        await recover(carol, {"chat.a": EVERYTHING})
        assert payloads([await carol.hear()]) == [1]
        stall.open()
    await bob.broadcast("chat.a", 2)
    assert payloads(await alice.hears(2)) == [1, 2]
    assert payloads(await carol.told()) == [2]


async def test_what_a_client_says_it_has_does_not_come_again_however_late_it_is(
    place: Place,
) -> None:
    alice, bob = await place.people("alice", "bob")
    await alice.subscribe("chat.a")
    with Stall("inbox") as stall:
        for number in (1, 2):
            await bob.say("Broadcast", {"topic": "chat.a", "payload": number})
            await until(lambda: stall.waiting >= number, "it waits in the inbox")  # noqa: B023
        epoch, offset = await place_of(bob, "chat.a")
        carol = await place.connect("carol")
        details = await recover(carol, {"chat.a": {"offset": offset, "epoch": epoch}})
        assert details["recovered"] == {"chat.a": True}
        stall.open()
    await bob.broadcast("chat.a", 3)
    assert payloads(await alice.hears(3)) == [1, 2, 3]
    assert payloads(await carol.told()) == [3]


async def test_what_is_said_while_the_owners_answer_is_awaited_comes_behind(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    for number in (1, 2):
        await alice.broadcast("chat.a", number)
    with Stall("answers") as stall:
        await begin(bob, "chat.a")
        await until(lambda: stall.waiting > 0, "the answer is on its way")
        await alice.say("Broadcast", {"topic": "chat.a", "payload": 3})
        [connection] = place.server.node.connections.of_user("bob")
        await until(lambda: bool(connection._replay and connection._replay.later), "3 is here")
        stall.open()
    assert payloads(await bob.hears(4)) == [1, 2, 3]


# ---- slow readers --------------------------------------------------------------------------------


async def fill(talk: Talk, topic: str, count: int) -> None:
    for number in range(count):
        await talk.broadcast(topic, [number, BIG])


async def numbers_heard(talk: Talk, count: int) -> list[int]:
    return [one[0] for one in payloads(await talk.hears(count))]


async def test_a_long_replay_waits_for_a_slow_reader(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.core.retention.Bounds.topic_size", 33_554_432)
    place = await start(history=LONG)
    alice, bob = await place.people("alice", "bob")
    await fill(alice, "chat.a", 15)
    outbox = connection_of(place, bob)._outbox
    outbox.limit, transport = BOUND, outbox._transport
    await begin(bob, "chat.a")
    heard: list[int] = []
    assert (await bob.hear())["type"] == "Status"
    while len(heard) < 15:
        assert transport.get_write_buffer_size() <= BOUND
        heard += await numbers_heard(bob, 1)
    assert heard == list(range(15))


async def test_the_replay_of_many_topics_waits_for_the_reader_too(place: Place) -> None:
    """Together they are more than a client may lag behind; that bound is not for replays."""
    alice, bob = await place.people("alice", "bob")
    topics = [f"chat.{number}" for number in range(100)]  # more than the kernel takes, too
    for topic in topics:
        await alice.broadcast(topic, BIG)
    connection_of(place, bob)._outbox.limit = 1_048_576

    await begin(bob, *topics)
    assert (await bob.hear())["type"] == "Status"
    assert payloads(await bob.hears(100)) == [BIG] * 100


# ---- who changes its mind ------------------------------------------------------------------------


class Paused:
    """A client in the middle of the replay of two topics: it was written one page."""

    def __init__(self, bob: Talk, connection: Connection) -> None:
        self.bob = bob
        self.connection = connection
        self.resumes = asyncio.Event()
        self._drained, self._write = connection._outbox.drained, connection._outbox.write
        self._has_begun = False
        connection._outbox.drained = self._wait  # type: ignore[method-assign]
        connection._outbox.write = self._note  # type: ignore[method-assign]

    def _note(self, frames: bytes) -> Written:
        self._has_begun = self._has_begun or b'"replayed":true' in frames
        return self._write(frames)

    async def _wait(self) -> None:
        if self._has_begun:
            await self.resumes.wait()
        await self._drained()


async def paused(place: Place) -> Paused:
    alice, bob = await place.people("alice", "bob")
    for topic in ("chat.a", "chat.b"):
        await fill(alice, topic, 6)
    found = Paused(bob, connection_of(place, bob))
    await begin(bob, "chat.a", "chat.b")
    assert (await bob.hear())["type"] == "Status"
    assert await numbers_heard(bob, 1) == [0]
    return found


async def test_after_unsubscribed_nothing_more_of_a_replay_is_written(place: Place) -> None:
    reader = await paused(place)
    await reader.bob.told()
    await reader.bob.ask("Unsubscribe", {"topics": ["chat.a"]})
    reader.resumes.set()
    heard = await reader.bob.hears(6)
    assert {one["data"]["topic"] for one in heard} == {"chat.b"}
    assert not await reader.bob.told()


async def test_who_leaves_during_a_replay_leaves_nothing_behind(place: Place) -> None:
    reader = await paused(place)
    await reader.bob.close()
    await place.server.forgotten("bob")
    assert reader.connection._replay is None
    assert not place.server.node.answers._asked
    [carol] = await place.people("carol")
    assert (await carol.broadcast("chat.a", "after"))["recipients"] == 0


async def test_a_subscription_whose_recovery_nobody_answers_is_undone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.answers.ANSWER_SECONDS", 0.05)
    alice, bob = await place.people("alice", "bob")
    with Gate("answers"):
        data = {"topics": ["chat.a"], "recover": {"chat.a": EVERYTHING}}
        assert (await bob.refused("Subscribe", data))["code"] == 503
    assert (await alice.broadcast("chat.a", 1))["recipients"] == 0
    assert (await bob.subscribe("other"))["active_subscriptions"] == 1
    await bob.subscribe("chat.a")
    assert (await alice.broadcast("chat.a", 2))["recipients"] == 1
    assert payloads(await bob.told()) == [2]
