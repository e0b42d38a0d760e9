"""Files and streams in binary messages; what is kept of them (B3, B4, H1, H3, R3)."""

import asyncio
import base64
import random
import socket
from collections import defaultdict

import pytest

from tests.component.conftest import Start
from tests.component.staging import Stall, acknowledging, history, recover
from tests.support.binary import checksum, file_chunks, headed
from tests.support.embedded import Message, Place, Talk, until

MIB = 1_048_576
CHUNK = MIB - 1000
"""Bytes of a body that fits the limit with its header."""


def content_of(size: int, seed: int = 1) -> bytes:
    """Return the same noise at each run."""
    return random.Random(seed).randbytes(size)  # noqa: S311 - noise, no secret


async def send_all(talk: Talk, chunks: list[bytes]) -> None:
    for chunk in chunks:
        await talk.send(chunk)


async def receive_files(talk: Talk, count: int) -> dict[str, bytes]:
    """Put files together from their parts as they come; return them by transfer."""
    parts: dict[str, dict[int, bytes]] = defaultdict(dict)
    totals: dict[str, int] = {}
    whole: dict[str, bytes] = {}
    while len(whole) < count:
        data = (await talk.hear())["data"]
        assert data["type"] == "file_transfer"
        transfer, seq = data["header"]["transfer_id"], data["header"]["seq"]
        parts[transfer][seq] = data["body"]
        if data["header"]["final"]:
            totals[transfer] = seq + 1
        if len(parts[transfer]) == totals.get(transfer):
            whole[transfer] = b"".join(parts[transfer][n] for n in range(totals[transfer]))
    return whole


# ---- files and streams ---------------------------------------------------------------------------


@pytest.mark.parametrize("where", [{"topic": "files"}, {"target_user": "bob"}], ids=str)
async def test_files_are_put_together_from_their_parts(place: Place, where: Message) -> None:
    alice, carol, bob = await place.people("alice", "carol", "bob")
    await bob.subscribe("files")
    files = {"one": content_of(700_001, 1), "two": content_of(300_000, 2)}
    await asyncio.gather(
        send_all(alice, file_chunks(files["one"], 65_000, transfer_id="one", **where)),
        send_all(carol, file_chunks(files["two"], 65_000, transfer_id="two", **where)),
    )
    arrived = await receive_files(bob, 2)
    assert {name: checksum(one) for name, one in arrived.items()} == {
        name: checksum(one) for name, one in files.items()
    }


async def test_a_stream_arrives_in_order_up_to_its_end(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("live")
    for seq in range(200):
        header = {"topic": "live", "transfer_id": "s", "seq": seq, "final": seq == 199}
        await alice.send(headed(header, b"%d" % seq, 0x84))
    heard = [one["data"] for one in await bob.hears(200)]
    assert {one["type"] for one in heard} == {"stream_data"}
    assert [one["header"]["seq"] for one in heard] == list(range(200))
    assert [one["body"] for one in heard] == [b"%d" % seq for seq in range(200)]
    assert [one["header"]["final"] for one in heard] == [False] * 199 + [True]


@pytest.mark.parametrize("where", [{"topic": "files"}, {"target_user": "bob"}], ids=str)
async def test_a_burst_of_the_largest_messages_is_not_too_much_for_who_reads_on(
    start: Start, where: Message
) -> None:
    """A network takes them more slowly than this machine's does: its buffers are made small."""
    place = await start(max_outbox_bytes=16 * MIB)
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("files")
    connection = place.server.node.connections.get(bob.id)
    assert connection is not None
    transport = connection._outbox._transport
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
    content = content_of(16 * CHUNK)
    chunks = file_chunks(content, CHUNK, transfer_id="t", **where)
    sending = asyncio.create_task(send_all(alice, chunks))
    arrived = await receive_files(bob, 1)
    await sending
    assert checksum(arrived["t"]) == checksum(content)


# ---- what is kept --------------------------------------------------------------------------------


async def test_history_holds_binary_messages_whole_with_the_body_in_base64(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    await bob.subscribe("files")
    await alice.broadcast("files", "and JSON")
    for part in file_chunks(content_of(2000), 1000, topic="files", transfer_id="t", name="x"):
        await alice.send(part)
    heard = await bob.hears(3)
    for one in heard[1:]:
        one["data"]["body"] = base64.b64encode(one["data"]["body"]).decode()
    assert (await history(bob, "files"))["messages"] == heard
    assert [one["data"]["header"]["offset"] for one in heard[1:]] == [2, 3]


async def test_a_page_of_history_counts_what_base64_makes_of_a_body(place: Place) -> None:
    alice = await place.connect("alice")
    await send_all(alice, file_chunks(content_of(600_000), 100_000, topic="files"))
    await alice.send(headed({"topic": "files"}, content_of(400_000)))
    await alice.hears(13)
    counts, sizes = [], []
    while sum(counts) < 7:
        await alice.say("History", {"topic": "files", "after": sum(counts)}, id="h")
        text = await alice.hear_text()
        assert (await alice.hear())["type"] == "Ack"
        counts.append(text.count('"Binary"'))
        sizes.append(len(text))
    assert counts == [3, 3, 1]
    assert max(sizes[:2]) <= 524_288 < sizes[2]


async def test_who_recovers_gets_the_binary_messages_that_were_missed(place: Place) -> None:
    alice, bob = await place.people("alice", "bob")
    content = content_of(800_000)
    for part in file_chunks(content, 100_000, topic="files", transfer_id="t"):
        await alice.send(part)
    await alice.hears(16)
    details = await recover(bob, {"files": {"since": 0}})
    assert details["recovered"] == {"files": True}
    heard = await bob.hears(8)
    assert all(one["data"]["header"]["replayed"] for one in heard)
    assert checksum(b"".join(one["data"]["body"] for one in heard)) == checksum(content)


async def test_the_largest_messages_may_come_while_a_client_recovers(start: Start) -> None:
    """What is said meanwhile is kept back, within the bound for slow readers."""
    place = await start(max_outbox_bytes=4 * MIB)
    alice, bob = await place.people("alice", "bob")
    await alice.broadcast("files", 1)
    with Stall("answers") as stall:
        await bob.say("Subscribe", {"topics": ["files"], "recover": {"files": {"since": 0}}})
        await until(lambda: stall.waiting > 0, "the answer is on its way")
        await send_all(alice, [headed({"topic": "files"}, b"x" * CHUNK)] * 3)
        [connection] = place.server.node.connections.of_user("bob")
        await until(lambda: len(getattr(connection._replay, "later", [])) == 3, "all are here")
        stall.open()
    heard = await bob.hears(5)
    assert [one["type"] for one in heard] == ["Status", "Broadcast", *["Binary"] * 3]


async def test_a_mailbox_holds_files_within_its_bytes(place: Place) -> None:
    alice = await place.connect("alice")
    content = content_of(3 * 300_000)
    for part in file_chunks(content, 300_000, target_user="bob", transfer_id="t"):
        await alice.send(part)
    await alice.send(headed({"target_user": "bob", "id": "much"}, b"x" * 300_000))
    queued = [one["data"] for one in await alice.hears(10) if one["type"] == "Error"]
    assert [one["details"]["queued"] for one in queued] == [True, True, True, False]
    bob = await place.connect("bob")
    assert checksum((await receive_files(bob, 1))["t"]) == checksum(content)


async def test_a_confirming_client_paces_its_sender(place: Place) -> None:
    alice, bob = await place.connect("alice"), await acknowledging(place, "bob")
    for seq, part in enumerate(file_chunks(content_of(4 * CHUNK), CHUNK, target_user="bob")):
        await alice.send(part)
        header = (await bob.hear())["data"]["header"]
        assert header["seq"] == seq
        await bob.say("Ack", {"message_ids": [header["message_id"]]})
        _, ack = await alice.answers(f"part-{seq}")
        assert ack["data"]["status"] == "delivered"
