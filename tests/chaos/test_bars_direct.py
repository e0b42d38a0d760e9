"""F16: ids of different connections are different. F23: who comes and goes misses nothing."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import aiohttp
import pytest

from realtime_client import Client, CommandFailed
from standalone.local_cluster import LocalCluster
from tests.chaos.bars import Socket, http, nothing_waits, open_socket, say, urls
from tests.support.broker import Troubled
from tests.support.cluster import Hearing, clients, eventually

pytestmark = [pytest.mark.rabbitmq, pytest.mark.bars]

IDS = 10_000
WRITERS = 10

TRIALS = 1_000
USERS = 20
WRITERS_EACH = 2
"""Who write to each user, one on each gateway."""

STAY_SECONDS = 0.15
PAUSE_SECONDS = 0.2
"""Between one message of a writer and the next; none waits for the answer to the last one."""

LAST = 10**9
"""The number of what is said when all is over."""

SETTLED_SECONDS = 60.0
SEED = 23


# ---- F16 -----------------------------------------------------------------------------------------


async def test_the_same_id_on_two_connections_of_a_user_is_two_messages(
    cluster: LocalCluster,
) -> None:
    here, there = urls(cluster)
    for places in ((here, there), (here, here)):
        tabs = [(url, "two-tabs") for url in places]
        async with clients(*tabs, (there, "listener")) as (*both, listener):
            await listener.subscribe("f16.topic")
            hearing = Hearing(listener)
            said = [await tab.broadcast("f16.topic", n, id="msg_1") for n, tab in enumerate(both)]
            written = [
                await tab.direct_message("listener", n, id="msg_2") for n, tab in enumerate(both)
            ]
            assert [one["recipients"] for one in said] == [1, 1]
            assert [one["status"] for one in written] == ["delivered"] * 2
            assert len({one["server_message_id"] for one in (*said, *written)}) == 4
            heard = partial(_both_heard, hearing)
            await eventually(heard, 10, "both of each kind are heard")
            hearing.stop()


def _both_heard(hearing: Hearing) -> bool:
    return all(hearing.payloads(kind) == [0, 1] for kind in ("Broadcast", "DirectMessage"))


async def test_no_id_is_minted_twice(cluster: LocalCluster, scale: int) -> None:
    places = [(urls(cluster)[number % 2], "writer") for number in range(WRITERS)]
    each = IDS * scale // WRITERS
    async with clients(*places) as writers:

        async def mint(writer: Client) -> list[str]:
            found: list[str] = []
            for _ in range(0, each, 50):
                acks = await asyncio.gather(
                    *(writer.broadcast("f16.nobody", 1, {"ttl": 0}) for _ in range(50))
                )
                found += [ack["server_message_id"] for ack in acks]
            return found

        minted = [one for found in await asyncio.gather(*map(mint, writers)) for one in found]
    say("F16", minted=len(minted), different=len(set(minted)))
    assert len(minted) == len(set(minted)) == each * WRITERS


# ---- F23 -----------------------------------------------------------------------------------------


@dataclass
class Restless:
    """A user who confirms direct messages, and connects here and there all the time."""

    name: str
    session: aiohttp.ClientSession
    gateways: list[str]
    rng: random.Random
    trials: int = 0
    diligence: float = 0.8
    """How often a message is confirmed when it comes; else with a later one, or never."""

    heard: list[tuple[str, str, int]] = field(default_factory=list)
    """Id, sender and number of each message, also of those that came twice."""

    async def wander(self, times: int) -> None:
        """Connect so often, and vanish or say goodbye after a while."""
        for _ in range(times):
            socket = await self._connect()
            try:
                async with asyncio.timeout(self.rng.uniform(0, STAY_SECONDS)):
                    await self._listen(socket)
            except TimeoutError:
                pass
            if self.rng.random() < 0.5:
                socket.abort()
            else:
                await socket.close()

    async def rest(self) -> None:
        """Connect once more, and stay until cancelled."""
        self.diligence = 1.0
        socket = await self._connect()
        try:
            await self._listen(socket)
        finally:
            await socket.close()

    async def _connect(self) -> Socket:
        self.trials += 1
        url = self.gateways[self.trials % len(self.gateways)]
        return await open_socket(self.session, url, self.name, acks=True)

    async def _listen(self, socket: Socket) -> None:
        while True:
            message = await socket.wire.receive_json()
            if message["type"] == "DirectMessage":
                data = message["data"]
                message_id = data["metadata"]["message_id"]
                self.heard.append((message_id, data["from_user"], data["payload"]))
                if self.rng.random() < self.diligence:
                    await self._confirm(socket)

    async def _confirm(self, socket: Socket) -> None:
        some = list(dict.fromkeys(one for one, _, _ in self.heard[-50:]))
        await socket.send("Ack", {"message_ids": some})

    def by_sender(self) -> dict[str, list[int]]:
        """Return the numbers of each sender as they came first."""
        found: dict[str, list[int]] = defaultdict(list)
        seen: set[str] = set()
        for message_id, sender, number in self.heard:
            if message_id not in seen:
                seen.add(message_id)
                found[sender].append(number)
        return dict(found)


@dataclass
class Writer:
    """Somebody who writes to one user without pause."""

    client: Client
    target: str
    accepted: list[int] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    stopping: bool = False

    async def write(self) -> None:
        """Write one message after the other; return when all are answered."""
        number = 0
        async with asyncio.TaskGroup() as group:
            while not self.stopping:
                number += 1
                group.create_task(self._send(number))
                await asyncio.sleep(PAUSE_SECONDS)

    async def _send(self, number: int) -> None:
        try:
            ack = await self.client.direct_message(self.target, number)
        except CommandFailed as error:
            self.statuses[f"refused {error.code}"] += 1
        else:
            self.accepted.append(number)
            self.statuses[ack["status"]] += 1


def inversions(numbers: list[int]) -> list[tuple[int, int]]:
    """Return the pairs of which the later one was said first."""
    return [(a, b) for a, b in pairwise(numbers) if b <= a]


def added(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """Return the sums by name."""
    sums: dict[str, int] = defaultdict(int)
    for one in counts:
        for name, count in one.items():
            sums[name] += count
    return dict(sums)


async def test_who_reconnects_all_the_time_misses_nothing(
    cluster: LocalCluster, rabbitmq: Troubled, scale: int
) -> None:
    names = [f"restless-{number}" for number in range(USERS)]
    # One connection each: an answer waits for those before it (R1), and these are slow ones.
    pairs = [(name, number) for name in names for number in range(WRITERS_EACH)]
    places = [(urls(cluster)[number % 2], f"writer-{number}") for _, number in pairs]
    async with http() as session, clients(*places) as senders:
        rngs = (random.Random(SEED + number) for number in range(USERS))  # noqa: S311
        users = [
            Restless(name, session, urls(cluster), rng)
            for name, rng in zip(names, rngs, strict=True)
        ]
        writers = [Writer(one, name) for one, (name, _) in zip(senders, pairs, strict=True)]
        writing = [asyncio.create_task(one.write()) for one in writers]
        await asyncio.gather(*(one.wander(TRIALS * scale // USERS) for one in users))
        for writer in writers:
            writer.stopping = True
        await asyncio.gather(*writing)

        resting = [asyncio.create_task(one.rest()) for one in users]
        accepted = {
            name: {w.client.user_id: w.accepted for w in writers if w.target == name}
            for name in names
        }

        def all_came() -> bool:
            return all(
                set(user.by_sender().get(sender, [])) >= set(numbers)
                for user in users
                for sender, numbers in accepted[user.name].items()
            )

        try:
            took = await eventually(all_came, SETTLED_SECONDS, "everything accepted has come")
            for writer in writers:  # nothing waits any more, or this would have to wait, too
                ack = await writer.client.direct_message(writer.target, LAST)
                assert ack["status"] == "delivered", (writer.target, ack)
        finally:
            for task in resting:
                task.cancel()
            await asyncio.gather(*resting, return_exceptions=True)
            lost = {
                (user.name, sender): sorted(set(numbers) - set(user.by_sender().get(sender, [])))
                for user in users
                for sender, numbers in accepted[user.name].items()
            }
            found = {
                (user.name, sender): numbers
                for user in users
                for sender, numbers in user.by_sender().items()
            }
            inverted = {who: late for who, some in found.items() if (late := inversions(some))}
            heard = sum(len(user.heard) for user in users)
            say(
                "F23",
                trials=sum(user.trials for user in users),
                accepted=sum(len(one.accepted) for one in writers),
                statuses=added(one.statuses for one in writers),
                heard=heard,
                different=sum(map(len, found.values())),
                lost=sum(map(len, lost.values())),
                inversions=sum(map(len, inverted.values())),
            )
        say("F23", all_came_after=f"{took:.1f} s")
        assert not any(lost.values()), {who: some for who, some in lost.items() if some}
        assert not inverted
        await nothing_waits(rabbitmq)
