"""Topics and patterns, from a socket's point of view (T1 to T9)."""

import asyncio
from typing import Any

import pytest

from gateway import commands
from tests.component.conftest import Start
from tests.support.embedded import Gate, Place

MOST_IN_A_REQUEST = 100


# ---- patterns ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "meets", "misses"),
    [
        ("updates", ["updates"], ["updates.a", "Updates"]),
        ("updates.*", ["updates.a", "updates.b"], ["updates", "updates.a.b"]),
        ("updates.#", ["updates", "updates.a", "updates.a.b"], ["update", "x.updates"]),
        ("*.b", ["a.b"], ["b", "a.b.c", "a.c"]),
        ("#", ["a", "a.b.c"], []),
        ("a.*.c.#", ["a.b.c", "a.b.c.d.e"], ["a.c", "a.b.d"]),
    ],
)
async def test_wildcards_are_rabbitmqs(
    place: Place, pattern: str, meets: list[str], misses: list[str]
) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe(pattern)
    counts = [(await alice.broadcast(topic, 1))["recipients"] for topic in [*meets, *misses]]
    assert counts == [1] * len(meets) + [0] * len(misses)
    assert [one["data"]["topic"] for one in await bob.told()] == meets


@pytest.mark.parametrize(
    "bad",
    ["", ".", "a.", ".a", "a..b", "foo*", "a.#.b", "##", "a b", "a.$b", "a\n", "ä", "a/b"],
)
async def test_what_is_no_topic_is_a_bad_request(place: Place, bad: str) -> None:
    alice = await place.connect("alice")
    error = await alice.refused("Subscribe", {"topics": ["fine", bad]})
    assert (error["code"], error["details"]["topics"]) == (400, [bad])
    error = await alice.refused("Unsubscribe", {"topics": ["fine", bad]})
    assert (error["code"], error["details"]["topics"]) == (400, [bad])
    assert (await alice.refused("Broadcast", {"topic": bad, "payload": 1}))["code"] == 400


@pytest.mark.parametrize("bad", ["x" * 256, ".".join("a" * 17), "x." * 128], ids=len)
async def test_a_topic_that_is_too_long_is_a_bad_request(place: Place, bad: str) -> None:
    alice = await place.connect("alice")
    assert (await alice.refused("Subscribe", {"topics": ["fine", bad]}))["code"] == 400
    assert (await alice.refused("Broadcast", {"topic": bad, "payload": 1}))["code"] == 400


@pytest.mark.parametrize("good", ["x" * 255, ".".join("a" * 16), "A_z-0:9@%41", "a.%2E"])
async def test_a_topic_may_be_this_long_and_this_odd(place: Place, good: str) -> None:
    alice = await place.connect("alice")
    await alice.subscribe(good)
    assert (await alice.broadcast(good, 1))["recipients"] == 1


@pytest.mark.parametrize("pattern", ["chat.*", "chat.#", "#", "*"])
async def test_nobody_broadcasts_to_a_pattern(place: Place, pattern: str) -> None:
    alice = await place.connect("alice")
    error = await alice.refused("Broadcast", {"topic": pattern, "payload": 1})
    assert error["code"] == 400


@pytest.mark.parametrize("topic", ["$internal", "$x.y", "presence.bob", "presence", "system.all"])
async def test_nobody_but_the_service_speaks_on_reserved_topics(place: Place, topic: str) -> None:
    alice = await place.connect("alice", roles=["admin"])
    error = await alice.refused("Broadcast", {"topic": topic, "payload": 1})
    assert error["code"] == 403


async def test_wildcards_do_not_meet_reserved_topics(place: Place) -> None:
    bob, watcher = await place.people("bob", "watcher")
    await bob.subscribe("#", "*.*")
    await watcher.subscribe("presence.alice")
    await place.connect("alice")
    assert (await watcher.hear())["type"] == "Presence"
    assert not await bob.told()


# ---- subscribing ---------------------------------------------------------------------------------


async def test_overlapping_patterns_give_one_copy(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("a.b", "a.*", "a.#", "#")
    assert (await alice.broadcast("a.b", 1))["recipients"] == 1
    assert len(await bob.told()) == 1


async def test_subscribing_and_unsubscribing_can_be_repeated(place: Place) -> None:
    alice = await place.connect("alice")
    one_two = {"topics": ["one", "two"], "active_subscriptions": 2}
    assert await alice.subscribe("one", "two", "one") == one_two
    assert await alice.subscribe("two", "one") == {"topics": ["two", "one"]} | {
        "active_subscriptions": 2
    }
    [status, _] = await alice.ask("Unsubscribe", {"topics": ["two", "three", "two"]})
    assert status["data"]["details"] == {"topics": ["two", "three"], "active_subscriptions": 1}
    assert (await alice.broadcast("one", 1))["recipients"] == 1
    assert (await alice.broadcast("two", 1))["recipients"] == 0


async def test_unsubscribing_a_topic_punches_no_hole_in_a_pattern(place: Place) -> None:
    alice = await place.connect("alice")
    await alice.subscribe("chat.a", "chat.*")
    await alice.ask("Unsubscribe", {"topics": ["chat.a"]})
    assert (await alice.broadcast("chat.a", 1))["recipients"] == 1


async def test_a_request_with_one_bad_topic_changes_nothing(place: Place) -> None:
    grants = {"subscribe": ["open.#"], "publish": ["#"]}
    alice = await place.connect("alice", permissions=grants)
    for bad, code in (("open..x", 400), ("closed", 403), ("#", 403), ("open.x ", 400)):
        error = await alice.refused("Subscribe", {"topics": ["open.x", bad]})
        assert (error["code"], error["details"]["topics"]) == (code, [bad])
    assert (await alice.broadcast("open.x", 1))["recipients"] == 0
    assert (await alice.subscribe("open.y"))["active_subscriptions"] == 1
    await alice.refused("Unsubscribe", {"topics": ["open.y", "a..b"]})
    assert (await alice.broadcast("open.y", 1))["recipients"] == 1


@pytest.mark.parametrize(
    "data", [{}, {"topics": []}, {"topics": "a"}, {"topics": [1]}, {"topics": None}]
)
async def test_a_request_needs_a_list_of_topics(place: Place, data: dict[str, Any]) -> None:
    alice = await place.connect("alice")
    for kind in ("Subscribe", "Unsubscribe"):
        assert (await alice.refused(kind, data))["code"] == 400


async def test_a_request_may_hold_a_hundred_topics(place: Place) -> None:
    alice = await place.connect("alice")
    topics = [f"t.{number}" for number in range(101)]
    assert (await alice.subscribe(*topics[:100]))["active_subscriptions"] == 100
    for kind in ("Subscribe", "Unsubscribe"):
        error = await alice.refused(kind, {"topics": topics})
        assert (error["code"], error["details"]["limit"]) == (403, 100)
    assert (await alice.subscribe("t.0"))["active_subscriptions"] == 100


@pytest.mark.parametrize("limit", [256, 3])
async def test_a_connection_may_hold_so_many_patterns(start: Start, limit: int) -> None:
    place = await start(max_subscriptions=limit)
    alice = await place.connect("alice")
    topics = [f"t.{number}" for number in range(limit)]
    for at in range(0, limit, MOST_IN_A_REQUEST):
        await alice.subscribe(*topics[at : at + MOST_IN_A_REQUEST])
    error = await alice.refused("Subscribe", {"topics": ["one.more"]})
    assert (error["code"], error["details"]["limit"]) == (403, limit)
    assert (await alice.subscribe("t.0"))["active_subscriptions"] == limit
    await alice.ask("Unsubscribe", {"topics": ["t.0"]})
    assert (await alice.subscribe("one.more"))["active_subscriptions"] == limit


# ---- broadcasting --------------------------------------------------------------------------------


async def test_senders_hear_themselves_unless_they_ask_not_to(place: Place) -> None:
    alice, twin = await place.people("alice", "alice")
    for one in (alice, twin):
        await one.subscribe("a")
    assert (await alice.broadcast("a", 1))["recipients"] == 2
    assert (await alice.broadcast("a", 2, metadata={"echo": False}))["recipients"] == 1
    assert [one["data"]["payload"] for one in await alice.told()] == [1]
    assert [one["data"]["payload"] for one in await twin.told()] == [1, 2]


async def test_publishing_and_subscribing_are_granted_apart(place: Place) -> None:
    grants = {"subscribe": ["in.*"], "publish": ["out.*"]}
    alice = await place.connect("alice", permissions=grants)
    assert (await alice.broadcast("out.x", 1))["recipients"] == 0
    assert (await alice.refused("Broadcast", {"topic": "in.x", "payload": 1}))["code"] == 403
    assert (await alice.refused("Subscribe", {"topics": ["out.x"]}))["code"] == 403
    assert (await alice.refused("Subscribe", {"topics": ["in.#"]}))["code"] == 403


# ---- the promises --------------------------------------------------------------------------------


async def test_after_unsubscribed_nothing_more_arrives(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    for _ in range(20):
        await bob.subscribe("flood")
        flood = asyncio.gather(
            *(alice.say("Broadcast", {"topic": "flood", "payload": 1}) for _ in range(50))
        )
        await bob.ask("Unsubscribe", {"topics": ["flood"]})
        await bob.told()
        await flood
        await alice.broadcast("flood", 1)
        assert not await bob.told()


async def test_a_subscription_that_is_not_confirmed_in_time_is_undone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "CONFIRM_SECONDS", 0.05)
    alice = await place.connect("alice")
    with Gate("router.commands"):
        error = await alice.refused("Subscribe", {"topics": ["late"]})
    assert (error["code"], error["details"]["retry_after_ms"]) == (503, 1000)
    assert (await alice.broadcast("late", 1))["recipients"] == 0
    assert (await alice.subscribe("other"))["active_subscriptions"] == 1


async def test_a_repeated_subscription_is_true_although_the_first_came_to_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second request waits for the same confirm, which comes after the first has given up."""
    monkeypatch.setattr(commands, "CONFIRM_SECONDS", 0.2)
    alice = await place.connect("alice")
    with Gate("router.commands") as gate:
        await alice.say("Subscribe", {"topics": ["late"]}, id="1")
        await asyncio.sleep(0.1)  # the two are to give up at different times
        await alice.say("Subscribe", {"topics": ["late"]}, id="2")
        [error] = await alice.answers("1")
        assert error["data"]["code"] == 503
        gate.open()
        answers = await alice.answers("2")
    promised = answers[0]["type"] == "Status"
    assert (await alice.broadcast("late", 1))["recipients"] == promised
