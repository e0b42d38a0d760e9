"""Binary messages between two gateways, over RabbitMQ (B1 to B4)."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiohttp import ClientSession

from standalone.local_cluster import LocalCluster
from standalone.tokens import development_token
from tests.support.binary import TYPES, checksum, file_chunks, headed, plain
from tests.support.cluster import balanced, url_of
from tests.support.embedded import Message, Talk

pytestmark = pytest.mark.rabbitmq

LIMIT = 1_048_576


@asynccontextmanager
async def talks(cluster: LocalCluster, *users: str) -> AsyncIterator[list[Talk]]:
    """Connect the first user to the first gateway and all others to the second.

    While a partition moves, what is said to a user waits in the mailbox, which holds one such
    message only: so they wait until all partitions have come to rest.
    """
    for service in ("router", "presence_service"):
        await balanced(cluster, service)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(ClientSession())
        connected = []
        for number, user in enumerate(users):
            url = f"{url_of(cluster, min(number, 1))}?token={development_token(user)}"
            talk = Talk(await stack.enter_async_context(session.ws_connect(url, max_msg_size=0)))
            talk.welcome = (await talk.hear())["data"]["details"]
            connected.append(talk)
        yield connected


def largest_chunks(content: bytes, **header: str) -> list[bytes]:
    """Return a file as messages that are as large as they may be; the last has what is left."""
    parts: list[bytes] = []
    while content:
        said = {**header, "id": f"part-{len(parts)}", "seq": len(parts), "final": False}
        room = LIMIT - len(headed(said))
        if len(content) < room:
            said["final"] = True
        parts.append(headed(said, content[:room]))
        content = content[room:]
    return parts


@pytest.mark.parametrize("where", [{"topic": "types"}, {"target_user": "bob-types"}], ids=str)
async def test_every_type_reaches_the_other_gateway_and_is_counted(
    cluster: LocalCluster, where: Message
) -> None:
    async with talks(cluster, "alice-types", "bob-types") as (alice, bob):
        await bob.subscribe("types")
        await alice.ask("BinaryRoute", where)
        for kind, name in TYPES.items():
            body = bytes((kind, 0, 255))
            frame = headed(where, body, kind) if kind & 0x80 else plain(kind, body)
            await alice.send(frame)
            details = (await alice.hear())["data"]["details"]
            heard = (await bob.hear())["data"]
            assert (heard["type"], heard["body"], details["type"]) == (name, body, name)
            assert (details["recipients"], details["checksum"]) == (1, checksum(frame[5:]))
            assert heard["header"]["message_id"] == details["message_id"]


@pytest.mark.parametrize("where", [{"topic": "files"}, {"target_user": "bob-files"}], ids=str)
async def test_a_file_of_the_largest_messages_arrives_whole_on_the_other_gateway(
    cluster: LocalCluster, where: Message
) -> None:
    content = random.Random(1).randbytes(8 * LIMIT)  # noqa: S311 - noise, no secret
    async with talks(cluster, "alice-files", "bob-files") as (alice, bob):
        await bob.subscribe("files")
        chunks = largest_chunks(content, transfer_id="t", **where)
        assert max(map(len, chunks)) == LIMIT

        async def send() -> None:
            for chunk in chunks:
                await alice.send(chunk)

        sending = asyncio.create_task(send())
        heard = [(await bob.hear())["data"] for _ in chunks]
        await sending
        acks = [one for one in await alice.hears(2 * len(chunks)) if one["type"] == "Ack"]
    assert [one["header"]["seq"] for one in heard] == list(range(len(chunks)))
    assert heard[-1]["header"]["final"]
    assert checksum(b"".join(one["body"] for one in heard)) == checksum(content)
    assert {one["data"]["status"] for one in acks} == {"delivered"}


async def test_the_largest_message_is_kept_for_history_and_recovery(cluster: LocalCluster) -> None:
    async with talks(cluster, "alice-kept", "bob-kept") as (alice, bob):
        [chunk] = file_chunks(b"x" * (LIMIT - 200), LIMIT, topic="kept")
        await alice.send(chunk)
        await alice.answers("part-0")
        page, _ = await bob.ask("History", {"topic": "kept"})
        [kept] = page["data"]["messages"]
        assert len(kept["data"]["body"]) > LIMIT
        await bob.ask("Subscribe", {"topics": ["kept"], "recover": {"kept": {"since": 0}}})
        again = (await bob.hear())["data"]
        assert again["body"] == b"x" * (LIMIT - 200)
        assert again["header"]["message_id"] == kept["data"]["header"]["message_id"]


async def test_the_largest_message_waits_for_a_user_in_the_mailbox(cluster: LocalCluster) -> None:
    async with talks(cluster, "alice-mail") as (alice,):
        [chunk] = file_chunks(b"x" * (LIMIT - 200), LIMIT, target_user="bob-mail")
        await alice.send(chunk)
        error, _, ack = await alice.hears(3)
        assert (error["data"]["details"]["queued"], ack["data"]["status"]) == (True, "queued")
        async with talks(cluster, "carol-mail", "bob-mail") as (_, bob):
            data = (await bob.hear())["data"]
            assert (data["body"], data["header"]["queued"]) == (b"x" * (LIMIT - 200), True)
