"""Who is here, and how they are to be seen (P1, P2)."""

import asyncio
from typing import Any

import pytest

from presence_service.commands import PresenceOwner
from shared.ownership import replica
from tests.component.conftest import Clock
from tests.support.embedded import PATIENCE, Message, Place, Talk

GRACE_MS = 5_000


class Ticking(Clock):
    """A clock that waits until what has become due was done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(monkeypatch)
        self._ticked = asyncio.Event()
        tick = PresenceOwner.tick

        def ticked(owner: PresenceOwner, now_ms: int) -> None:
            tick(owner, now_ms)
            self._ticked.set()

        monkeypatch.setattr(PresenceOwner, "tick", ticked)
        monkeypatch.setattr(replica, "TICK_SECONDS", 0.01)

    async def advance(self, ms: int) -> None:
        """Let time pass, and every partition see what has become due."""
        self.now_ms += ms
        for _ in range(3):  # a round of ticks may have begun before
            self._ticked.clear()
            async with asyncio.timeout(PATIENCE):
                await self._ticked.wait()


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Ticking:
    return Ticking(monkeypatch)


async def sighted(talk: Talk) -> Message:
    """Return the data of the Presence that must come next."""
    message = await talk.hear()
    assert message["type"] == "Presence", message
    data: Message = message["data"]
    assert data["last_seen"] == data.pop("last_seen_ms") // 1000
    return data


async def seen(watcher: Talk) -> list[tuple[str, str]]:
    """Return whose presence has come so far."""
    messages = await watcher.told()
    assert {one["type"] for one in messages} <= {"Presence"}
    return [(one["data"]["user_id"], one["data"]["status"]) for one in messages]


async def gone(place: Place, talk: Talk, user: str) -> None:
    """Close a connection and wait until the presence service knows."""
    await talk.close()
    await place.server.forgotten(user)
    fence = await place.connect("fence")
    await fence.direct(user, 1, metadata={"ttl": 0})
    await fence.close()
    await place.server.forgotten("fence")


async def snapshot(watcher: Talk, *topics: str) -> list[tuple[str, str]]:
    """Subscribe; return the sightings that follow, up to one of the watcher itself."""
    await watcher.subscribe(*topics)
    found: list[tuple[str, str]] = []
    while not found or found[-1][0] != "watcher":
        data = await sighted(watcher)
        found.append((data["user_id"], data["status"]))
    return found


# ---- the snapshot --------------------------------------------------------------------------------


async def test_a_snapshot_of_one_user_follows_the_status(place: Place) -> None:
    watcher, _bob = await place.people("watcher", "bob")
    await watcher.say("Subscribe", {"topics": ["presence.bob"]}, id="1")
    status, ack, presence = await watcher.hears(3)
    assert [status["type"], ack["type"], presence["type"]] == ["Status", "Ack", "Presence"]
    assert (presence["data"]["user_id"], presence["data"]["status"]) == ("bob", "online")
    assert presence.keys() == {"type", "data"}
    assert presence["data"].keys() == {
        "user_id",
        "status",
        "last_seen",
        "last_seen_ms",
        "metadata",
    }


async def test_a_snapshot_of_everybody_names_each_who_is_online_once(place: Place) -> None:
    watcher = await place.connect("watcher")
    users = [f"user{number}" for number in range(20)]
    await place.people(*users, "user0")
    await watcher.subscribe("presence.*", "presence.user1", "presence.nobody")
    found = sorted([await sighted(watcher) for _ in range(21)], key=lambda one: one["user_id"])
    assert [one["user_id"] for one in found] == sorted([*users, "watcher"])
    assert not await seen(watcher)


async def test_only_the_subscriber_gets_the_snapshot(place: Place) -> None:
    first, second, _bob = await place.people("first", "second", "bob")
    await first.subscribe("presence.bob")
    await sighted(first)
    await second.subscribe("presence.bob")
    await sighted(second)
    assert not await seen(first)


async def test_a_user_id_is_written_as_one_word_of_the_topic(place: Place) -> None:
    watcher = await place.connect("watcher")
    await watcher.subscribe("presence.b%2Eo b".replace(" ", "%20"))
    await place.connect("b", sub="b.o b")
    assert (await sighted(watcher))["user_id"] == "b.o b"


# ---- coming and going ----------------------------------------------------------------------------


async def test_a_user_comes_online_once_and_goes_offline_after_the_grace(
    ticking: Ticking, place: Place
) -> None:
    watcher = await place.connect("watcher")
    await watcher.subscribe("presence.bob")
    phone, laptop = await place.people("bob", "bob")
    came = await sighted(watcher)
    assert came == {
        "user_id": "bob",
        "status": "online",
        "last_seen": ticking.now_ms // 1000,
        "metadata": {},
    }
    await phone.close()
    await ticking.advance(2 * GRACE_MS)
    assert not await seen(watcher)
    await gone(place, laptop, "bob")
    await ticking.advance(GRACE_MS - 1)
    assert not await seen(watcher)
    await ticking.advance(1)
    left = await sighted(watcher)
    assert (left["status"], left["last_seen"]) == ("offline", ticking.now_ms // 1000)
    assert not await seen(watcher)


async def test_who_returns_within_the_grace_was_never_away(ticking: Ticking, place: Place) -> None:
    watcher, bob = await place.people("watcher", "bob")
    await watcher.subscribe("presence.bob")
    await sighted(watcher)
    for _ in range(3):
        await gone(place, bob, "bob")
        await ticking.advance(GRACE_MS - 1)
        bob = await place.connect("bob")
        await ticking.advance(GRACE_MS)
    assert not await seen(watcher)
    await gone(place, bob, "bob")
    await ticking.advance(GRACE_MS)
    assert (await sighted(watcher))["status"] == "offline"


async def test_who_returns_after_the_grace_is_online_again(ticking: Ticking, place: Place) -> None:
    watcher, bob = await place.people("watcher", "bob")
    await watcher.subscribe("presence.bob")
    await gone(place, bob, "bob")
    await ticking.advance(GRACE_MS)
    await place.connect("bob")
    states = [(await sighted(watcher))["status"] for _ in range(3)]
    assert states == ["online", "offline", "online"]


async def test_overlapping_patterns_give_one_copy_of_each_change(place: Place) -> None:
    watcher = await place.connect("watcher")
    assert await snapshot(watcher, "presence.*", "presence.bob", "presence.#")
    await place.connect("bob")
    assert (await sighted(watcher))["user_id"] == "bob"
    assert not await seen(watcher)


async def test_after_unsubscribed_no_presence_arrives(place: Place) -> None:
    watcher = await place.connect("watcher")
    await watcher.subscribe("presence.bob")
    await watcher.ask("Unsubscribe", {"topics": ["presence.bob"]})
    bob = await place.connect("bob")
    await bob.direct("watcher", 1)
    assert [one["type"] for one in await watcher.told()] == ["DirectMessage"]


# ---- how a user is seen --------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["away", "busy", "online"])
async def test_a_user_says_how_they_are_to_be_seen(place: Place, status: str) -> None:
    watcher, bob = await place.people("watcher", "bob")
    await watcher.subscribe("presence.bob")
    await sighted(watcher)
    [ack] = await bob.ask("Presence", {"status": status})
    assert ack["data"]["status"] == "ok"
    assert (await sighted(watcher))["status"] == status
    late = await place.connect("late")
    await late.subscribe("presence.bob")
    assert (await sighted(late))["status"] == status


@pytest.mark.parametrize("status", ["offline", "", "ONLINE", None, 1])
async def test_nobody_can_say_anything_else(place: Place, status: Any) -> None:
    bob = await place.connect("bob")
    assert (await bob.refused("Presence", {"status": status}))["code"] == 400
    error = await bob.refused("Presence", {"status": "away", "metadata": []})
    assert error["code"] == 400


async def test_what_the_token_says_is_overlaid_with_what_the_client_sets(place: Place) -> None:
    watcher = await place.connect("watcher")
    await watcher.subscribe("presence.bob")
    bob = await place.connect("bob", presence={"device": "web", "location": "New York"})
    assert (await sighted(watcher))["metadata"] == {"device": "web", "location": "New York"}
    await bob.ask("Presence", {"status": "away", "metadata": {"device": "phone", "x": [1]}})
    both = {"device": "phone", "location": "New York", "x": [1]}
    assert (await sighted(watcher))["metadata"] == both
    await bob.ask("Presence", {"status": "busy"})
    assert (await sighted(watcher))["metadata"] == both
    await bob.ask("Presence", {"status": "busy", "metadata": {}})
    assert (await sighted(watcher))["metadata"] == {"device": "web", "location": "New York"}


# ---- rights --------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", ["presence.bob", "presence.*", "presence.#", "presence"])
async def test_presence_needs_its_own_right(place: Place, topic: str) -> None:
    grants = {"subscribe": ["#", "presence.#"], "publish": ["#"], "direct": True}
    watcher = await place.connect("watcher", permissions=grants)
    error = await watcher.refused("Subscribe", {"topics": [topic]})
    assert (error["code"], error["details"]["topics"]) == (403, [topic])


async def test_the_right_to_see_one_user_shows_no_other(place: Place) -> None:
    watcher = await place.connect("watcher", permissions={"presence": ["presence.bob"]})
    for topic in ("presence.carol", "presence.*", "presence.#"):
        assert (await watcher.refused("Subscribe", {"topics": [topic]}))["code"] == 403
    await watcher.subscribe("presence.bob")
    await place.people("carol", "bob")
    assert (await sighted(watcher))["user_id"] == "bob"
    assert not await seen(watcher)
