"""Topics and patterns (T1 to T9)."""

import asyncio

from tests.component.staging import payloads
from tests.protocol.conftest import Name
from tests.support.api import BackEnd
from tests.support.embedded import Place


async def test_wildcards_stand_for_one_word_or_for_any_number_at_the_end(
    place: Place, name: Name
) -> None:
    alice = await place.connect(name("alice"))
    a = name("updates")
    cases = [
        (a, [a], [f"{a}.a", a.upper()]),
        (f"{a}.*", [f"{a}.a", f"{a}.b"], [a, f"{a}.a.b"]),
        (f"{a}.#", [a, f"{a}.a", f"{a}.a.b"], [f"{a}b", f"x.{a}"]),
        (f"*.{a}", [f"x.{a}"], [a, f"x.{a}.b"]),
        (f"{a}.*.c.#", [f"{a}.b.c", f"{a}.b.c.d.e"], [f"{a}.c", f"{a}.b.d"]),
    ]
    for pattern, meets, misses in cases:
        bob = await place.connect(name("bob"))
        await bob.subscribe(pattern)
        counts = [(await alice.broadcast(topic, 1))["recipients"] for topic in [*meets, *misses]]
        assert counts == [1] * len(meets) + [0] * len(misses), pattern
        assert [one["data"]["topic"] for one in await bob.told()] == meets
        await bob.ask("Unsubscribe", {"topics": [pattern]})
    assert (await alice.refused("Subscribe", {"topics": ["a.#.b"]}))["code"] == 400


async def test_a_topic_is_1_to_16_words_of_known_characters(place: Place, name: Name) -> None:
    rights = {"subscribe": ["#", "$x.#"], "publish": ["#"]}
    alice = await place.connect(name("alice"), permissions=rights)
    for good in ("x" * 255, ".".join("a" * 16), "A_z-0:9@%41", "case", "CASE"):
        await alice.subscribe(good)
        assert (await alice.broadcast(good, 1))["recipients"] == 1
    await alice.subscribe("$x.a")
    bad = ["", ".", "a.", "a..b", "foo*", "##", "a b", "a.$b", "a\n", "ä", "a/b"]
    for one in (*bad, "x" * 256, ".".join("a" * 17)):
        for kind in ("Subscribe", "Unsubscribe"):
            error = await alice.refused(kind, {"topics": ["fine", one]})
            assert (error["code"], error["details"]["topics"]) == (400, [one])
        assert (await alice.refused("Broadcast", {"topic": one, "payload": 1}))["code"] == 400
        await alice.ask("Pong", {})


async def test_a_user_of_any_printable_name_has_a_topic_and_can_be_written_to(
    place: Place, name: Name
) -> None:
    watcher, mark = await place.connect(name("watcher")), name("x")
    users = {
        f"{mark}.b *#": f"{mark}%2Eb%20%2A%23",
        f"{mark}é\"c'/\\": f"{mark}%C3%A9%22c%27%2F%5C",
    }
    for user, word in users.items():
        await watcher.subscribe(f"presence.{word}")
        bob = await place.connect(user)
        assert (await watcher.hear())["data"]["user_id"] == user
        [ack] = await watcher.direct(user, 1)
        assert ack["data"]["delivered_to"] == [bob.id]


async def test_nobody_broadcasts_to_a_pattern(place: Place, name: Name) -> None:
    alice = await place.connect(name("alice"))
    for pattern in ("chat.*", "chat.#", "#", "*"):
        error = await alice.refused("Broadcast", {"topic": pattern, "payload": 1})
        assert (error["code"], error["details"]["field"]) == (400, "data.topic")


async def test_reserved_topics_are_the_services_and_no_wildcard_in_front_meets_them(
    place: Place, name: Name, ops: BackEnd
) -> None:
    admin = await place.connect(name("admin"), roles=["admin"])
    rights = {"subscribe": ["#", "system.#", "$x.#"], "presence": ["presence.#"]}
    bob, carol = [await place.connect(name(one), permissions=rights) for one in ("bob", "carol")]
    for topic in ("$internal", "$x.y", "presence", "presence.bob", "system.all"):
        error = await admin.refused("Broadcast", {"topic": topic, "payload": 1})
        assert error["code"] == 403
    await bob.subscribe("#", "*.*")
    assert (await bob.refused("Subscribe", {"topics": ["$y.a"]}))["code"] == 403
    await carol.subscribe(f"system.{name('a')}", f"$x.{name('a')}", f"presence.{name('dave')}")
    for first in ("system", "$x"):
        said = await ops.post("/broadcasts", {"topic": f"{first}.{name('a')}", "payload": 1})
        assert said["recipients"] == 1
    await place.connect(name("dave"))
    assert [one["type"] for one in await carol.hears(3)] == ["Broadcast", "Broadcast", "Presence"]
    assert not await bob.told()


async def test_overlapping_patterns_give_one_copy(place: Place, name: Name) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    chat = name("chat")
    await bob.subscribe(f"{chat}.a", f"{chat}.*", f"{chat}.#", "#")
    assert (await alice.broadcast(f"{chat}.a", 1))["recipients"] == 1
    assert payloads(await bob.told()) == [1]


async def test_senders_hear_themselves_unless_they_ask_not_to(place: Place, name: Name) -> None:
    rights = {"subscribe": [name("chat")], "publish": [name("chat"), name("out")]}
    alice = await place.connect(name("alice"), permissions=rights)
    twin = await place.connect(name("alice"))
    for one in (alice, twin):
        await one.subscribe(name("chat"))
    assert (await alice.broadcast(name("chat"), 1))["recipients"] == 2
    assert (await alice.broadcast(name("chat"), 2, metadata={"echo": False}))["recipients"] == 1
    assert payloads(await alice.told()) == [1]
    assert payloads(await twin.told()) == [1, 2]
    ack = await alice.broadcast(name("out"), "to nobody, without subscribing")
    assert (ack["status"], ack["recipients"]) == ("delivered", 0)


async def test_subscribing_and_unsubscribing_can_be_repeated(place: Place, name: Name) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    one, two, three = (f"{name('chat')}.{word}" for word in ("one", "two", "three"))
    said = {"topics": [one, two], "active_subscriptions": 2}
    assert await alice.subscribe(one, two, one) == said
    assert await alice.subscribe(two, one) == {**said, "topics": [two, one]}
    assert (await alice.subscribe(f"{name('chat')}.*"))["active_subscriptions"] == 3
    [status, _] = await alice.ask("Unsubscribe", {"topics": [two, three, two]})
    assert status["data"]["details"] == {"topics": [two, three], "active_subscriptions": 2}
    assert (await bob.broadcast(two, 1))["recipients"] == 1  # no hole in the pattern


async def test_a_request_changes_all_or_nothing(place: Place, name: Name) -> None:
    grants = {"subscribe": ["open.#"], "publish": ["#"]}
    alice = await place.connect(name("alice"), permissions=grants)
    topic = f"open.{name('x')}"
    for bad, code in (("open..x", 400), ("closed", 403), ("#", 403), ("open.x ", 400)):
        error = await alice.refused("Subscribe", {"topics": [topic, bad]})
        assert (error["code"], error["details"]["topics"]) == (code, [bad])
    for data in ({}, {"topics": []}, {"topics": "a"}, {"topics": [1]}):
        assert (await alice.refused("Subscribe", data))["code"] == 400
    assert (await alice.broadcast(topic, 1))["recipients"] == 0
    assert (await alice.subscribe(topic))["active_subscriptions"] == 1
    await alice.refused("Unsubscribe", {"topics": [topic, "a..b"]})
    assert (await alice.broadcast(topic, 1))["recipients"] == 1


async def test_a_request_has_100_topics_and_a_connection_256_at_most(
    place: Place, name: Name
) -> None:
    alice = await place.connect(name("alice"))
    topics = [f"{name('t')}.{number}" for number in range(257)]
    for kind in ("Subscribe", "Unsubscribe"):
        error = await alice.refused(kind, {"topics": topics[:101]})
        assert (error["code"], error["details"]["limit"]) == (403, 100)
    for first in (0, 100, 156):
        await alice.subscribe(*topics[first : first + 100])
    error = await alice.refused("Subscribe", {"topics": topics[256:]})
    assert (error["code"], error["details"]["limit"]) == (403, 256)
    assert (await alice.subscribe(topics[0]))["active_subscriptions"] == 256


async def test_what_is_said_after_subscribed_arrives_from_any_gateway(
    place: Place, name: Name
) -> None:
    alice, bob, carol = await place.people(name("alice"), name("bob"), name("carol"))
    for number in range(50):
        topic = f"{name('race')}.{number}"
        await bob.subscribe(topic if number % 2 else f"{topic}.#")
        for one in (alice, carol):  # one of them is on bob's gateway
            assert (await one.broadcast(topic, number))["recipients"] == 1
    assert payloads(await bob.told()) == [number for number in range(50) for _ in "ac"]


async def test_after_unsubscribed_nothing_more_arrives(place: Place, name: Name) -> None:
    alice, bob = await place.people(name("alice"), name("bob"))
    data = {"topic": name("flood"), "payload": 1}
    for _ in range(10):
        await bob.subscribe(name("flood"))
        flood = asyncio.gather(*(alice.say("Broadcast", data) for _ in range(50)))
        await bob.ask("Unsubscribe", {"topics": [name("flood")]})
        await bob.told()
        await flood
        assert (await alice.broadcast(name("flood"), 1))["recipients"] == 0
        assert not await bob.told()
