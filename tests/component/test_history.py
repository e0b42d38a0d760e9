"""What was said on a topic, page by page (H1, H2, H4)."""

import json
from typing import Any

import pytest

from tests.component.conftest import Clock, Start
from tests.component.staging import history, metadata, payloads, place_of, recover
from tests.support.embedded import Message, Place, Talk

TEN = list(range(1, 11))
PAGE_BYTES = 524_288


async def say(talk: Talk, topic: str, *said: Any, **rest: Any) -> None:
    for one in said:
        await talk.broadcast(topic, one, **rest)


def offsets(messages: list[Message]) -> list[int]:
    return [metadata(one)["offset"] for one in messages]


@pytest.fixture
async def alice(place: Place) -> Talk:
    """Somebody who has counted to ten on a topic."""
    alice = await place.connect("alice")
    await say(alice, "chat.a", *TEN)
    return alice


# ---- offsets and epochs --------------------------------------------------------------------------


async def test_offsets_rise_by_one_in_each_topic_and_the_epoch_stays(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("chat.*")
    for topic in ("chat.a", "chat.b", "chat.a", "chat.a", "chat.b"):
        await alice.broadcast(topic, topic)
    heard = await bob.told()
    for topic, expected in (("chat.a", [1, 2, 3]), ("chat.b", [1, 2])):
        mine = [one for one in heard if one["data"]["topic"] == topic]
        assert offsets(mine) == expected
        assert len({metadata(one)["epoch"] for one in mine}) == 1


async def test_what_is_live_only_takes_no_offset_and_is_not_in_history(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("chat.a")
    await say(alice, "chat.a", 1)
    await say(alice, "chat.a", "live", metadata={"ttl": 0})
    await say(alice, "chat.a", 2, metadata={"ttl": 5})
    first, live, last = await bob.told()
    assert offsets([first, last]) == [1, 2]
    assert not metadata(live).keys() & {"offset", "epoch"}
    page = await history(alice, "chat.a")
    assert (payloads(page["messages"]), page["offset"]) == ([1, 2], 2)


async def test_where_history_is_off_there_are_no_offsets_and_nothing_to_be_had(
    start: Start,
) -> None:
    off = {"messages": 0, "seconds": 0}
    place = await start(history={"off.#": off, "#": {"messages": 100, "seconds": 300}})
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("off.a", "on.a")
    await say(alice, "off.a", 1)
    await say(alice, "on.a", 2)
    unkept, kept = await bob.told()
    assert not metadata(unkept).keys() & {"offset", "epoch"}
    assert metadata(kept)["offset"] == 1
    page = await history(alice, "off.a")
    assert (page["messages"], page["offset"]) == ([], 0)


# ---- pages ---------------------------------------------------------------------------------------


async def test_a_page_has_each_message_whole_as_it_was_delivered(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("chat.a")
    await alice.broadcast("chat.a", {"n": [1, None]}, metadata={"mood": "good"}, timestamp=7)
    heard = await bob.told()
    page, ack = await alice.ask("History", {"topic": "chat.a"}, id="h1")
    assert page == {
        "type": "History",
        "data": {
            "topic": "chat.a",
            "epoch": metadata(heard[0])["epoch"],
            "messages": heard,
            "offset": 1,
            "complete": True,
        },
        "id": "h1",
    }
    assert ack == {"type": "Ack", "data": {"message_id": "h1", "status": "ok"}, "id": "h1"}


@pytest.mark.parametrize(
    ("asked", "expected", "complete"),
    [
        ({}, TEN, True),
        ({"limit": 3}, [8, 9, 10], False),
        ({"limit": 3, "reverse": True}, [10, 9, 8], False),
        ({"after": 7}, [8, 9, 10], True),
        ({"after": 7, "reverse": True}, [10, 9, 8], True),
        ({"after": 2, "limit": 3}, [3, 4, 5], False),
        ({"after": 10}, [], True),
        ({"after": 11}, [], False),
        ({"before": 4}, [1, 2, 3], True),
        ({"before": 4, "limit": 2}, [2, 3], False),
        ({"before": 4, "limit": 2, "reverse": True}, [3, 2], False),
        ({"before": 99}, TEN, True),
        ({"before": 1}, [], True),
        ({"before": 0}, [], True),
        ({"after": 2, "before": 5}, [3, 4], True),
        ({"after": 0, "limit": 1000}, TEN, True),
        ({"before": None, "after": None}, TEN, True),
    ],
    ids=str,
)
async def test_a_page_is_what_was_asked_for_in_order(
    alice: Talk, asked: dict[str, Any], expected: list[int], complete: bool
) -> None:
    page = await history(alice, "chat.a", **asked)
    assert payloads(page["messages"]) == offsets(page["messages"]) == expected
    assert (page["offset"], page["complete"]) == (10, complete)


async def test_without_a_limit_a_page_has_fifty_messages(place: Place) -> None:
    alice = await place.connect("alice")
    await say(alice, "chat.a", *range(60))
    assert payloads((await history(alice, "chat.a"))["messages"]) == list(range(10, 60))


async def test_one_reads_on_and_back_through_all_pages(alice: Talk) -> None:
    onward: list[int] = []
    while len(onward) < 10:
        after = onward[-1] if onward else 0
        page = await history(alice, "chat.a", after=after, limit=4)
        onward += offsets(page["messages"])
    back: list[int] = []
    while len(back) < 10:
        before = back[0] if back else 11
        page = await history(alice, "chat.a", before=before, limit=4)
        back = offsets(page["messages"]) + back
    assert onward == back == TEN
    assert page["complete"]


async def test_a_topic_that_nobody_has_spoken_on_has_an_empty_history(place: Place) -> None:
    alice = await place.connect("alice")
    page = await history(alice, "never.said")
    assert page["epoch"]
    assert (page["messages"], page["offset"], page["complete"]) == ([], 0, True)
    await alice.subscribe("never.said")
    await alice.broadcast("never.said", 1)
    assert metadata(await alice.hear())["epoch"] == page["epoch"]


@pytest.mark.parametrize(("size", "count"), [(60_000, 12), (700, 1000)])
async def test_a_page_is_at_most_512_kib(start: Start, size: int, count: int) -> None:
    place = await start(history={"#": {"messages": 2000, "seconds": 300}})
    alice = await place.connect("alice")
    for _ in range(count):
        await alice.say("Broadcast", {"topic": "chat.a", "payload": "x" * size})
    await alice.broadcast("chat.a", "last")
    await alice.say("History", {"topic": "chat.a", "limit": 1000}, id="h")
    text = await alice.hear_text()
    page = json.loads(text)["data"]
    assert len(text.encode()) <= PAGE_BYTES
    assert page["messages"][-1]["data"]["payload"] == "last"
    assert not page["complete"]


# ---- retention -----------------------------------------------------------------------------------


async def test_the_oldest_goes_when_there_are_too_many(start: Start) -> None:
    place = await start(history={"#": {"messages": 3, "seconds": 300}})
    alice = await place.connect("alice")
    await say(alice, "chat.a", *TEN)
    page = await history(alice, "chat.a")
    assert (offsets(page["messages"]), page["complete"]) == ([8, 9, 10], False)
    page = await history(alice, "chat.a", after=7)
    assert (offsets(page["messages"]), page["complete"]) == ([8, 9, 10], True)


async def test_what_is_too_old_goes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    alice = await place.connect("alice")
    await say(alice, "chat.a", 1, 2)
    clock.now_ms += 200_000
    await say(alice, "chat.a", 3)
    clock.now_ms += 200_000
    page = await history(alice, "chat.a")
    assert (offsets(page["messages"]), page["complete"]) == ([3], False)
    clock.now_ms += 200_000
    page = await history(alice, "chat.a")
    assert (page["messages"], page["offset"], page["complete"]) == ([], 3, False)
    await alice.subscribe("chat.a")
    await say(alice, "chat.a", 4)
    assert offsets(await alice.told()) == [4]


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({}, "data.topic"),
        ({"topic": 7}, "data.topic"),
        ({"topic": "chat.*"}, "data.topic"),
        ({"topic": "#"}, "data.topic"),
        ({"topic": "a..b"}, "data.topic"),
        ({"topic": "a", "limit": 0}, "data.limit"),
        ({"topic": "a", "limit": 1001}, "data.limit"),
        ({"topic": "a", "limit": "5"}, "data.limit"),
        ({"topic": "a", "limit": 1.5}, "data.limit"),
        ({"topic": "a", "before": -1}, "data.before"),
        ({"topic": "a", "after": -1}, "data.after"),
        ({"topic": "a", "after": "x"}, "data.after"),
        ({"topic": "a", "after": 2**53 + 1}, "data.after"),
        ({"topic": "a", "before": 2**70}, "data.before"),
        ({"topic": "a", "reverse": 1}, "data.reverse"),
    ],
    ids=str,
)
async def test_a_bad_field_is_a_bad_request_that_names_it(
    place: Place, data: dict[str, Any], field: str
) -> None:
    alice = await place.connect("alice")
    error = await alice.refused("History", data)
    assert (error["code"], error["details"]["field"]) == (400, field)


@pytest.mark.parametrize(
    ("permissions", "topic", "allowed"),
    [
        ({"subscribe": ["chat.#"]}, "chat.a", True),
        ({"subscribe": ["chat.#"]}, "news.a", False),
        ({"subscribe": ["#"], "history": ["chat.#"]}, "chat.a", True),
        ({"subscribe": ["#"], "history": ["chat.#"]}, "news.a", False),
        ({"subscribe": ["#"], "history": []}, "chat.a", False),
        ({"subscribe": [], "history": ["#"]}, "chat.a", False),
        ({"subscribe": ["#"]}, "$internal", False),
        ({"subscribe": ["#"]}, "system.news", False),
        ({"subscribe": ["#"]}, "presence.bob", False),
    ],
    ids=str,
)
async def test_history_needs_the_right_to_subscribe_and_to_history(
    place: Place, permissions: dict[str, Any], topic: str, allowed: bool
) -> None:
    alice = await place.connect("alice", permissions=permissions)
    reply, *_ = await alice.ask("History", {"topic": topic})
    code = None if reply["type"] == "History" else reply["data"]["code"]
    assert code == (None if allowed else 403)


async def test_what_has_outlived_its_ttl_is_neither_in_history_nor_recovered(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    epoch, _ = await place_of(alice, "chat.a")
    await say(alice, "chat.a", 1)
    await say(alice, "chat.a", "passing", metadata={"ttl": 0.2})
    await say(alice, "chat.a", 2)
    while payloads((await history(alice, "chat.a"))["messages"]) != [1, 2]:
        pass
    assert (await history(alice, "chat.a"))["complete"]
    details = await recover(bob, {"chat.a": {"epoch": epoch, "offset": 0}})
    assert details["recovered"] == {"chat.a": True}
    assert payloads(await bob.hears(2)) == [1, 2]
