"""What a topic remembers, and who comes back to it (H1 to H4)."""

import asyncio
import base64
from typing import Any

from tests.component.staging import history, metadata, payloads, place_of, recover
from tests.protocol.conftest import Name
from tests.support.binary import headed
from tests.support.embedded import Message, Place, Talk

BIG = "x" * 60_000
PAGE_BYTES = 524_288


async def say(talk: Talk, topic: str, *said: Any, **rest: Any) -> None:
    for one in said:
        await talk.broadcast(topic, one, **rest)


def offsets(messages: list[Message]) -> list[int]:
    return [metadata(one)["offset"] for one in messages]


# ---- pages ---------------------------------------------------------------------------------------


async def test_a_page_has_what_was_asked_for_in_order(place: Place, name: Name) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    topic, ten = name("chat"), list(range(1, 11))
    await say(alice, topic, *ten)
    asked: list[tuple[dict[str, Any], list[int], bool]] = [
        ({}, ten, True),
        ({"limit": 3}, [8, 9, 10], False),
        ({"limit": 3, "reverse": True}, [10, 9, 8], False),
        ({"after": 7}, [8, 9, 10], True),
        ({"after": 2, "limit": 3}, [3, 4, 5], False),
        ({"before": 4, "limit": 2}, [2, 3], False),
        ({"before": 4, "reverse": True}, [3, 2, 1], True),
        ({"after": 0, "limit": 1000}, ten, True),
    ]
    for data, expected, complete in asked:
        page = await history(bob, topic, **data)
        assert payloads(page["messages"]) == offsets(page["messages"]) == expected
        assert (page["topic"], page["offset"], page["complete"]) == (topic, 10, complete)
    for field, bad in {"limit": 0, "before": -1, "after": "x", "reverse": 1}.items():
        error = await bob.refused("History", {"topic": topic, field: bad})
        assert (error["code"], error["details"]["field"]) == (400, f"data.{field}")
    assert (await bob.refused("History", {"topic": "a", "limit": 1001}))["code"] == 400
    assert (await bob.refused("History", {"topic": "a.*"}))["code"] == 400
    await say(alice, topic, *range(11, 61))
    assert offsets((await history(bob, topic))["messages"]) == list(range(11, 61))  # 50


async def test_a_page_has_each_message_whole_as_it_was_delivered(place: Place, name: Name) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    await bob.subscribe(name("chat"))
    await alice.broadcast(name("chat"), {"n": [1, None]}, metadata={"mood": "good"}, timestamp=7)
    await alice.send(headed({"topic": name("chat"), "name": "photo.jpg"}, b"\x00\xff"))
    json_one, binary = await bob.hears(2)
    page = await history(alice, name("chat"))
    binary["data"]["body"] = base64.b64encode(binary["data"]["body"]).decode()
    assert page["messages"] == [json_one, binary]
    assert page["epoch"] == metadata(json_one)["epoch"]


async def test_a_page_has_at_most_512_kib(place: Place, name: Name) -> None:
    alice = await place.connect(name("alice"))
    await say(alice, name("chat"), *[BIG] * 10)
    page = await history(alice, name("chat"))
    assert sum(len(one["data"]["payload"]) for one in page["messages"]) < PAGE_BYTES
    assert (offsets(page["messages"]), page["complete"]) == ([3, 4, 5, 6, 7, 8, 9, 10], False)


async def test_history_takes_the_right_to_subscribe_and_its_own(place: Place, name: Name) -> None:
    cases: list[tuple[Message, str, str | None]] = [
        ({"subscribe": ["chat.#"]}, "chat.a", None),
        ({"subscribe": ["#"], "history": ["chat.#"]}, "chat.a", None),
        ({"subscribe": ["#"], "history": ["chat.#"]}, "news.a", "history"),
        ({"subscribe": [], "history": ["#"]}, "chat.a", "subscribe"),
    ]
    for permissions, topic, lacking in cases:
        alice = await place.connect(name("alice"), permissions=permissions)
        if lacking is None:
            await history(alice, topic)
        else:
            error = await alice.refused("History", {"topic": topic})
            assert (error["code"], error["details"]["right"]) == (403, lacking)


# ---- offsets -------------------------------------------------------------------------------------


async def test_what_is_kept_has_an_offset_that_rises_by_one_and_an_epoch_that_stays(
    place: Place, name: Name
) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    one, two = name("one"), name("two")
    await bob.subscribe(one, two)
    for topic in (one, two, one, one, two):
        await alice.broadcast(topic, topic)
    heard = await bob.told()
    for topic, expected in ((one, [1, 2, 3]), (two, [1, 2])):
        mine = [found for found in heard if found["data"]["topic"] == topic]
        assert offsets(mine) == expected
        assert len({metadata(found)["epoch"] for found in mine}) == 1
    assert metadata(heard[0])["epoch"] != metadata(heard[1])["epoch"]


async def test_what_is_live_only_takes_no_offset(place: Place, name: Name) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    await bob.subscribe(name("chat"))
    await say(alice, name("chat"), 1)
    await say(alice, name("chat"), "live", metadata={"ttl": 0})
    await say(alice, name("chat"), 2)
    first, live, last = await bob.told()
    assert offsets([first, last]) == [1, 2]
    assert not metadata(live).keys() & {"offset", "epoch"}
    assert payloads((await history(alice, name("chat")))["messages"]) == [1, 2]


# ---- recovery ------------------------------------------------------------------------------------


async def test_what_was_missed_since_a_moment_follows_the_status(place: Place, name: Name) -> None:
    alice, bob, carol = await place.people(name("alice"), name("bob"), name("carol"))
    topic = name("chat")
    await carol.subscribe(topic)
    await say(alice, topic, 1, 2, 3)
    live = await carol.told()
    start = {topic: {"since": metadata(live[-1])["sent_at_ms"]}}
    await bob.say("Subscribe", {"topics": [topic], "recover": start}, id="s")
    status, ack, *missed = await bob.hears(5)
    assert (status["data"]["details"]["recovered"], ack["type"]) == ({topic: True}, "Ack")
    for one in missed:
        assert metadata(one).pop("replayed") is True
    assert missed == live  # with the same message ids, from 2 s before on
    await alice.broadcast(topic, 4)
    assert "replayed" not in metadata(await bob.hear())
    await recover(bob, {topic: {"since": 0}})
    assert not await bob.told()  # what this connection has, it is not sent again


async def test_since_reaches_two_seconds_back_and_no_further(place: Place, name: Name) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    await alice.subscribe(name("chat"))
    await say(alice, name("chat"), 1)
    sent = metadata(await alice.hear())["sent_at_ms"]
    for since, expected in ((sent + 2001, []), (sent + 2000, [1])):
        await recover(bob, {name("chat"): {"since": since}})
        assert payloads(await bob.told()) == expected


async def test_a_place_recovers_what_came_behind_it_or_says_that_it_cannot(
    place: Place, name: Name
) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    few, other, never = f"few.{name('chat')}", name("other"), name("never")
    await say(alice, few, 1, 2, 3, 4, 5)
    await say(alice, other, 1)
    epoch, _ = await place_of(alice, few)
    starts: list[tuple[dict[str, Any], dict[str, bool], list[int]]] = [
        ({few: {"offset": 1, "epoch": epoch}}, {few: False}, []),  # 2 is not kept any more
        ({few: {"offset": 5, "epoch": "another"}}, {few: False}, []),
        ({few: {"offset": 6, "epoch": epoch}}, {few: False}, []),
        (
            {few: {"offset": 2, "epoch": epoch}, other: {"offset": 1, "epoch": "another"}},
            {few: True, other: False},
            [3, 4, 5],
        ),
        ({never: {"since": 0}}, {never: True}, []),
        ({f"off.{name('chat')}": {"since": 0}}, {f"off.{name('chat')}": False}, []),
    ]
    for start, recovered, expected in starts:
        assert (await recover(bob, start))["recovered"] == recovered
        assert payloads(await bob.told()) == expected
    bad = {"topics": ["a.*"], "recover": {"a.*": {"offset": 1, "epoch": "e"}}}
    assert (await bob.refused("Subscribe", bad))["code"] == 400


async def test_a_pattern_recovers_all_its_topics_each_in_order(place: Place, name: Name) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    topics = [f"{name('chat')}.{word}" for word in "abcdef"]
    for topic in topics:
        await say(alice, topic, *(f"{topic} {number}" for number in range(3)))
    pattern = f"{name('chat')}.*"
    details = await recover(bob, {pattern: {"since": 0}, topics[0]: {"since": 0}})
    assert details["recovered"] == {pattern: True, topics[0]: True}
    heard = payloads(await bob.told())
    for topic in topics:
        mine = [one for one in heard if one.startswith(topic)]
        assert mine == [f"{topic} {number}" for number in range(3)]
    assert len(heard) == 3 * len(topics)


async def test_between_what_was_missed_and_what_is_said_now_is_no_gap_and_no_double(
    place: Place, name: Name
) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    await say(alice, name("chat"), *range(30))

    async def go_on() -> None:
        for number in range(30, 90):
            await alice.broadcast(name("chat"), number)

    talking = asyncio.create_task(go_on())
    details = await recover(bob, {name("chat"): {"since": 0}})
    heard = await bob.hears(90)
    await talking
    assert details["recovered"] == {name("chat"): True}
    assert payloads(heard) == list(range(90))
    assert offsets(heard) == list(range(1, 91))
    stamps = [metadata(one)["sent_at_ms"] for one in heard]
    assert stamps == sorted(stamps)
    flags = ["replayed" in metadata(one) for one in heard]
    assert flags == sorted(flags, reverse=True)
    assert flags[29]


# ---- retention -----------------------------------------------------------------------------------


async def test_a_topic_keeps_100_messages_unless_its_namespace_says_otherwise(
    place: Place, name: Name
) -> None:
    alice = await place.connect(name("alice"))
    for topic, kept in ((name("chat"), 100), (f"few.{name('chat')}", 3), (f"off.{name('x')}", 0)):
        data = {"topic": topic, "payload": 1}
        await asyncio.gather(*(alice.say("Broadcast", data) for _ in range(101)))
        await alice.broadcast(topic, "the last one", metadata={"ttl": 0})
        page = await history(alice, topic, limit=1000)
        assert len(page["messages"]) == kept
        assert (page["offset"], page["complete"]) == ((101, False) if kept else (0, True))


async def test_what_is_too_old_or_has_outlived_its_ttl_goes(place: Place, name: Name) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    brief, chat = f"brief.{name('chat')}", name("chat")
    await say(alice, brief, 1)
    await say(alice, chat, "passing", metadata={"ttl": 0.3})
    await say(alice, chat, "stays")
    while (await history(alice, brief))["messages"]:
        pass  # until its two seconds are over
    assert (await history(alice, brief))["complete"] is False
    assert payloads((await history(alice, chat))["messages"]) == ["stays"]
    details = await recover(bob, {brief: {"since": 0}, chat: {"since": 0}})
    assert details["recovered"] == {brief: False, chat: True}
    assert payloads(await bob.told()) == ["stays"]


async def test_a_topic_keeps_one_mebibyte(place: Place, name: Name) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    await say(alice, name("chat"), *[BIG] * 20)
    page = await history(alice, name("chat"), limit=1, after=0)
    assert (offsets(page["messages"]), page["complete"]) == ([4], False)
    details = await recover(bob, {name("chat"): {"since": 0}})
    assert details["recovered"] == {name("chat"): False}
    assert not await bob.told()


async def test_a_long_replay_is_read_as_the_socket_drains(place: Place, name: Name) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    topics = [f"{name('chat')}.{number}" for number in range(20)]
    for topic in topics:  # in all more than a client may lag behind
        await say(alice, topic, *[BIG] * 16)
    details = await recover(bob, {topic: {"since": 0} for topic in topics})
    assert all(details["recovered"].values())
    assert len(await bob.hears(320)) == 320
    assert not await bob.told()
