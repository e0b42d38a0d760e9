"""Two replicas of a service share its partitions while people go on speaking."""

import asyncio
from dataclasses import dataclass

import pytest

from tests.component.conftest import Start
from tests.component.staging import end_reigns, metadata, payloads, second_replica, terms
from tests.support.embedded import Place, Talk, until

TOPICS = [f"chat.{number}" for number in range(8)]
USERS = [f"user-{number}" for number in range(8)]


@dataclass
class Crowd:
    """People who speak all the time, on topics and to each other."""

    speaker: Talk
    hearers: dict[str, Talk]
    listener: Talk
    said: int = 0
    is_tired: bool = False

    async def speak(self) -> None:
        while not self.is_tired:
            self.said += 1
            for topic in TOPICS:
                await self.speaker.say("Broadcast", {"topic": topic, "payload": self.said})
            for user in USERS:
                data = {"target_user": user, "payload": self.said}
                await self.speaker.say("DirectMessage", data)
            await self.speaker.told()

    async def goes_on(self, more: int = 20) -> None:
        """Wait until much more was said."""
        before = self.said
        await until(lambda: self.said > before + more, "people go on speaking")

    async def check(self) -> None:
        """Check that everybody has heard everything, once and in order."""
        numbers = list(range(1, self.said + 1))
        heard = await self.listener.hears(len(TOPICS) * self.said)
        for topic in TOPICS:
            mine = [one for one in heard if one["data"]["topic"] == topic]
            assert payloads(mine) == numbers
            assert [metadata(one)["offset"] for one in mine] == numbers
            assert len({metadata(one)["epoch"] for one in mine}) == 1
        for hearer in self.hearers.values():
            assert payloads(await hearer.hears(self.said), "DirectMessage") == numbers
            assert not await hearer.told()
        assert not await self.listener.told()


async def gather(place: Place) -> Crowd:
    speaker, listener, *hearers = await place.people("speaker", "listener", *USERS)
    await listener.subscribe("chat.*")
    return Crowd(speaker, dict(zip(USERS, hearers, strict=True)), listener)


@pytest.mark.parametrize("service", ["router", "presence"])
async def test_a_second_replica_takes_its_share_and_gives_it_back_while_people_speak(
    start: Start, service: str
) -> None:
    place = await start(partitions=4)
    first = place.server.router if service == "router" else place.server.presence.replica
    crowd = await gather(place)
    speaking = asyncio.create_task(crowd.speak())
    await crowd.goes_on()
    async with second_replica(place, service) as second:
        await until(lambda: (first.owned, second.owned) == (2, 2), "they share")
        assert not terms(first).keys() & terms(second).keys()
        await crowd.goes_on()
    await until(lambda: first.owned == 4, "the first one serves all again")
    await crowd.goes_on()
    crowd.is_tired = True
    await speaking
    await crowd.check()


async def test_when_one_of_two_replicas_loses_its_connection_the_other_serves_all_at_once(
    start: Start,
) -> None:
    place = await start(partitions=4)
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("chat.*")
    first = place.server.router
    async with second_replica(place, "router") as second:
        await until(lambda: (first.owned, second.owned) == (2, 2), "they share")
        place.server.broker.cut(f"router {place.server.settings.node_id}")
        for topic in TOPICS:
            await alice.say("Broadcast", {"topic": topic, "payload": topic})
        await until(lambda: second.owned == 4, "the second one serves all")
        assert sorted(payloads(await bob.hears(len(TOPICS)))) == TOPICS
        await until(lambda: (first.owned, second.owned) == (2, 2), "they share again")


async def test_nobody_is_announced_again_when_a_partition_changes_hands(start: Start) -> None:
    place = await start(partitions=4)
    watcher, *_ = await place.people("watcher", *USERS)
    await watcher.subscribe(*(f"presence.{user}" for user in USERS))
    await watcher.hears(len(USERS))
    first = place.server.presence.replica
    async with second_replica(place, "presence") as second:
        await until(lambda: (first.owned, second.owned) == (2, 2), "they share")
        assert not await watcher.told()
        [late] = await place.people("late")
        await watcher.subscribe("presence.late")
        assert (await watcher.hear())["data"]["user_id"] == "late"
        await late.direct("user-1", "fence")
    await end_reigns(place, "presence")
    assert not await watcher.told()
