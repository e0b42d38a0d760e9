"""F22: a mailbox has bounds; what it takes it keeps in order, and what it refuses it says."""

import asyncio
from typing import Any

import pytest

from presence_service.core.mailbox import ENTRY_BYTES, SENDER_BYTES
from realtime_client import Client, CommandFailed
from shared.partitions import partition_of
from standalone.local_cluster import LocalCluster
from tests.chaos.bars import http, open_socket, say, urls
from tests.support.cluster import clients

pytestmark = [pytest.mark.rabbitmq, pytest.mark.bars]

MESSAGES = 1_000
PER_SENDER = 200
MAILBOX_BYTES = 1_048_576
LARGE = 60_000
"""Bytes of a large payload."""

TARGETS = 2_000
AT_ONCE = 32
"""Messages of the attacker that wait for their answer."""

PARTITIONS = 16
TTL_SECONDS = 2.0


async def queued(
    sender: Client, target: str, payload: Any, metadata: dict[str, Any] | None = None
) -> bool:
    """Send to somebody who is not here; return whether it waits for them."""
    try:
        ack = await sender.direct_message(target, payload, metadata)
    except CommandFailed as error:
        if (error.code, error.details.get("queued")) == (404, False):
            return False
        raise
    assert (ack["status"], ack["delivered_to"]) == ("queued", [])
    return True


async def drain(url: str, user: str, sender: Client) -> list[dict[str, Any]]:
    """Connect; return the data of all that had waited, when something new has come behind it."""
    async with http() as session:
        socket = await open_socket(session, url, user)
        ack = await sender.direct_message(user, "the end")
        assert ack["status"] == "delivered"
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(20):
            while True:
                data = (await socket.wire.receive_json())["data"]
                if data["payload"] == "the end":
                    await socket.close()
                    return found
                found.append(data)


def in_order(drained: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the payloads by sender; their ids must rise."""
    ids = [data["metadata"]["message_id"] for data in drained]
    assert ids == sorted(set(ids))
    assert all(data["metadata"]["queued"] for data in drained)
    found: dict[str, list[Any]] = {}
    for data in drained:
        found.setdefault(data["from_user"], []).append(data["payload"])
    return found


async def test_message_1001_of_six_senders_is_refused_and_the_thousand_come_in_order(
    cluster: LocalCluster,
) -> None:
    here, there = urls(cluster)
    share = 180  # so that no sender is at the end of their own quota
    counts = [share] * 5 + [MESSAGES - 5 * share]
    places = [((here, there)[number % 2], f"sender-{number}") for number in range(6)]
    async with clients(*places) as senders:

        async def send(sender: Client, number: int) -> None:
            for n in range(number):
                assert await queued(sender, "full", n)

        await asyncio.gather(*map(send, senders, counts))
        for sender in senders:
            assert not await queued(sender, "full", "one too many")
        found = in_order(await drain(there, "full", senders[0]))
        assert found == {
            f"sender-{number}": list(range(count)) for number, count in enumerate(counts)
        }
        say("F22", kept=MESSAGES, of_senders=len(senders), refused_after=len(senders))
        assert await queued(senders[0], "full", "there is room again") is True
        assert len(await drain(here, "full", senders[1])) == 1


async def test_one_sender_may_leave_200_and_others_may_go_on(cluster: LocalCluster) -> None:
    here, there = urls(cluster)
    async with clients((here, "eager"), (there, "eager"), (there, "modest")) as (one, two, other):
        for number in range(PER_SENDER):
            assert await queued((one, two)[number % 2], "favourite", number)
        assert not await queued(one, "favourite", "too much")
        assert not await queued(two, "favourite", "by another connection")
        assert await queued(other, "favourite", "mine")
        found = in_order(await drain(here, "favourite", other))
        assert {user: len(payloads) for user, payloads in found.items()} == {
            "eager": PER_SENDER,
            "modest": 1,
        }


async def test_a_mailbox_holds_one_mebibyte(cluster: LocalCluster) -> None:
    here, there = urls(cluster)
    room = MAILBOX_BYTES // (LARGE + 2)
    async with clients((here, "large")) as (sender,):
        for _ in range(room):
            assert await queued(sender, "heavy", "x" * LARGE)
        assert not await queued(sender, "heavy", "x" * LARGE)
        assert await queued(sender, "heavy", "small")
        found = in_order(await drain(there, "heavy", sender))
        assert [len(payload) for payload in found["large"]] == [LARGE] * room + [5]


async def test_what_has_expired_is_never_delivered(cluster: LocalCluster) -> None:
    here, there = urls(cluster)
    async with clients((here, "patient")) as (sender,):
        for number in range(50):
            metadata = {"ttl": TTL_SECONDS} if number % 2 else {"ttl": 600}
            assert await queued(sender, "late", number, metadata)
        assert not await queued(sender, "late", "at once or never", {"ttl": 0})
        await asyncio.sleep(TTL_SECONDS)
        found = in_order(await drain(there, "late", sender))
        assert found["patient"] == list(range(0, 50, 2))


def unknown(number: int, partition: int) -> list[str]:
    """Return users whom nobody has ever seen, all of one partition."""
    found: list[str] = []
    candidate = 0
    while len(found) < number:
        candidate += 1
        if partition_of(f"unknown-{candidate}", PARTITIONS) == partition:
            found.append(f"unknown-{candidate}")
    return found


async def test_an_attacker_is_answered_and_takes_no_room_from_others(
    cluster: LocalCluster, scale: int
) -> None:
    here, there = urls(cluster)
    targets, kept, turns = unknown(TARGETS * scale, 3), 0, asyncio.Semaphore(AT_ONCE)
    async with clients((here, "attacker"), (there, "neighbour")) as (attacker, neighbour):

        async def attack(target: str) -> bool:
            async with turns:
                return await queued(attacker, target, "x" * LARGE, {"ttl": 900})

        kept = sum(await asyncio.gather(*map(attack, targets)))
        say(
            "F22",
            unknown_targets=len(targets),
            kept=kept,
            refused=len(targets) - kept,
            bytes_kept=kept * LARGE,
        )
        assert kept == SENDER_BYTES // (LARGE + 2 + ENTRY_BYTES)
        assert await queued(neighbour, targets[-1], "x" * LARGE)
        assert (await neighbour.direct_message("attacker", "hello"))["status"] == "delivered"
