"""Who is here, and how they are to be seen (P1 to P3)."""

from tests.component.staging import payloads
from tests.protocol.conftest import Name
from tests.support.embedded import Message, Place, Talk

GRACE_MS = 5000


async def sighted(talk: Talk, user: str) -> Message:
    """Return the data of the next Presence of this user; of others nothing need be known."""
    while True:
        message = await talk.hear()
        assert message["type"] == "Presence", message
        data: Message = message["data"]
        if data["user_id"] == user:
            return data


async def query(talk: Talk, **asked: object) -> Message:
    state, ack = await talk.ask("PresenceQuery", asked)
    assert (state["type"], ack["data"]["status"]) == ("PresenceState", "ok"), (state, ack)
    data: Message = state["data"]
    return data


async def test_who_subscribes_is_told_who_is_online_behind_the_status(
    place: Place, name: Name
) -> None:
    earlier, watcher, _carol = await place.people(name("earlier"), name("watcher"), name("carol"))
    await earlier.subscribe(f"presence.{name('bob')}")
    await place.connect(name("bob"))
    await sighted(earlier, name("bob"))  # so that this is no news any more
    await watcher.say("Subscribe", {"topics": [f"presence.{name('bob')}"]}, id="1")
    status, ack, presence = await watcher.hears(3)
    assert [status["type"], ack["type"], presence["type"]] == ["Status", "Ack", "Presence"]
    assert (presence["data"]["user_id"], presence["data"]["status"]) == (name("bob"), "online")
    await watcher.subscribe("presence.*")
    missing = {name("watcher"), name("bob"), name("carol")}
    while missing:  # somebody of another test may be online still
        missing.discard((await watcher.hear())["data"]["user_id"])


async def test_only_who_asks_for_it_and_may_is_told_of_presence(place: Place, name: Name) -> None:
    grants = {"subscribe": ["#", "presence.#"], "presence": [f"presence.{name('bob')}"]}
    watcher = await place.connect(name("watcher"), permissions=grants)
    other = await place.connect(name("other"))
    await other.subscribe("#")
    for topic in (f"presence.{name('carol')}", "presence.*", "presence.#"):
        error = await watcher.refused("Subscribe", {"topics": [topic]})
        assert (error["code"], error["details"]["topics"]) == (403, [topic])
    await watcher.subscribe(f"presence.{name('bob')}")
    await place.people(name("carol"), name("bob"))
    assert (await watcher.hear())["data"]["user_id"] == name("bob")
    assert await watcher.told() == await other.told() == []


async def test_a_user_is_online_with_the_first_connection_and_offline_5_s_after_the_last(
    place: Place, name: Name
) -> None:
    watcher, bob = await place.connect(name("watcher")), name("bob")
    await watcher.subscribe(f"presence.{bob}")
    phone = await place.connect(bob)
    assert (await sighted(watcher, bob))["status"] == "online"
    laptop = await place.connect(bob)
    await phone.close()
    await laptop.close()
    laptop = await place.connect(bob)  # who returns within the time was never away
    await laptop.direct(name("watcher"), "fence")
    before = laptop.welcome["server_time_ms"]
    await laptop.close()
    fence, offline = await watcher.hears(2)
    assert payloads([fence], "DirectMessage") == ["fence"]
    assert offline["data"]["status"] == "offline"
    assert offline["data"]["last_seen_ms"] - before >= GRACE_MS


async def test_a_user_says_how_they_are_to_be_seen(place: Place, name: Name) -> None:
    watcher, bob = await place.connect(name("watcher")), name("bob")
    await watcher.subscribe(f"presence.{bob}")
    talk = await place.connect(bob, presence={"device": "web", "location": "New York"})
    seen = await sighted(watcher, bob)
    assert (seen["status"], seen["metadata"]) == (
        "online",
        {"device": "web", "location": "New York"},
    )
    both = {"device": "phone", "location": "New York"}
    for status, said, shown in (
        ("away", {"metadata": {"device": "phone"}}, both),
        ("busy", {}, both),
        ("online", {"metadata": {}}, seen["metadata"]),
    ):
        earlier = seen["last_seen_ms"]
        [ack] = await talk.ask("Presence", {"status": status, **said})
        seen = await sighted(watcher, bob)
        assert (ack["data"]["status"], seen["status"], seen["metadata"]) == ("ok", status, shown)
        assert seen["last_seen_ms"] >= earlier
    for bad in ("offline", "", "ONLINE", None, 1):
        assert (await talk.refused("Presence", {"status": bad}))["code"] == 400


async def test_up_to_100_users_can_be_asked_after(place: Place, name: Name) -> None:
    alice, bob, _twin = await place.people(name("alice"), name("bob"), name("bob"))
    await bob.ask("Presence", {"status": "away", "metadata": {"mood": "lunch"}})
    state = await query(alice, users=[name("carol"), name("bob"), name("alice")])
    carol, away, online = state["users"]
    assert state["complete"] is True
    assert carol == {"user_id": name("carol"), "status": "offline", "connections": 0}
    assert (away["status"], away["connections"]) == ("away", 2)
    assert away["metadata"] == {"mood": "lunch"}
    assert (online["user_id"], online["status"]) == (name("alice"), "online")
    assert len((await query(alice, users=["x"] * 100))["users"]) <= 100
    for bad in ({}, {"users": ["x"] * 101}, {"users": ["x"], "topic": "a"}, {"topic": "a.*"}):
        assert (await alice.refused("PresenceQuery", bad))["code"] == 400


async def test_a_topic_is_told_of_by_users_and_connections(place: Place, name: Name) -> None:
    users = [name(one) for one in ("alice", "bob", "bob", "carol")]
    alice, bob, twin, carol = await place.people(*users)
    chat = name("chat")
    for one, pattern in ((bob, f"{chat}.a"), (twin, f"{chat}.*"), (carol, f"{chat}.#")):
        await one.subscribe(pattern)
    await alice.subscribe(f"{chat}.b")
    state = await query(alice, topic=f"{chat}.a")
    named = sorted(state.pop("users"), key=lambda one: str(one["user_id"]))
    assert state == {"topic": f"{chat}.a", "connections": 3, "complete": True}
    assert named == [
        {"user_id": name("bob"), "connections": 2},
        {"user_id": name("carol"), "connections": 1},
    ]
    rights = {"subscribe": ["#"], "presence": [f"presence.{name('bob')}"]}
    dave = await place.connect(name("dave"), permissions=rights)
    await query(dave, users=[name("bob")])
    for asked in ({"users": [name("carol")]}, {"topic": f"{chat}.a"}):
        error = await dave.refused("PresenceQuery", asked)
        assert (error["code"], error["details"]["right"]) == (403, "presence")
