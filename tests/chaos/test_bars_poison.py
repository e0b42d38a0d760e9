"""F13: what does not belong on the bus is put aside or ignored, and disturbs nobody."""

import asyncio
import itertools
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
import pytest
from msgspec import Raw

from shared.broker import topology
from shared.messages import codec
from shared.messages.answers import Receipt
from shared.messages.deliveries import DeliveryBatch, DirectDelivery, TopicDelivery
from shared.messages.envelopes import (
    CommandBatch,
    Numbered,
    RouteBroadcast,
    RouteDirectMessage,
    Sender,
)
from shared.partitions import partition_of
from standalone.local_cluster import LocalCluster
from tests.chaos.bars import depths, nothing_waits, pids, say, urls
from tests.chaos.junk import JunkYard
from tests.support.broker import Troubled
from tests.support.cluster import Hearing, balanced, clients, eventually
from tests.support.talk import Talk

pytestmark = [pytest.mark.rabbitmq, pytest.mark.bars]

ENVELOPES = 10_000
WAVE = 100
PARTITIONS = 16
SEED = 13
POISON = topology.POISON.name
IGNORED = {"inbox": "bad deliveries", "direct": "bad deliveries", "answers": "bad answers"}
"""By kind of queue: the log line of a gateway that does not know what to make of a message."""


@asynccontextmanager
async def bus(rabbitmq: Troubled) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    """Yield a channel of somebody who may publish anywhere."""
    async with await aio_pika.connect(rabbitmq.url) as connection, connection.channel() as channel:
        yield channel


async def throw(channel: aio_pika.abc.AbstractChannel, queue: str, body: bytes) -> None:
    """Publish straight into a queue, and wait until the broker has it."""
    message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await channel.default_exchange.publish(message, queue)


def kind_of(queue: str) -> str:
    """Return who reads a queue; nothing if nobody does."""
    head, _, rest = queue.partition(".")
    if head in {"router", "presence"}:
        return head if rest.startswith("commands.") else ""
    return head if head in {"inbox", "direct", "answers", "undelivered"} else ""


async def in_poison(channel: aio_pika.abc.AbstractChannel) -> int:
    """Return how much was put aside."""
    queue = await channel.declare_queue(POISON, passive=True)
    return queue.declaration_result.message_count or 0


async def read_poison(channel: aio_pika.abc.AbstractChannel, number: int) -> Counter[bytes]:
    """Take out so much of what was put aside."""
    queue = await channel.get_queue(POISON)
    found: Counter[bytes] = Counter()
    async with asyncio.timeout(60), queue.iterator(no_ack=True) as messages:
        async for message in messages:
            found[message.body] += 1
            if found.total() >= number:
                return found
    return found


def lines(cluster: LocalCluster, event: str) -> int:
    """Return how often the gateways have logged an event."""
    logs = (gateway.log.read_text(errors="replace") for gateway in cluster.of("gateway"))
    return sum(log.count(event) for log in logs)


@asynccontextmanager
async def undisturbed(
    cluster: LocalCluster, name: str
) -> AsyncIterator[tuple[list[Talk], Hearing]]:
    """Have a pair talk all the while; every good message must be answered, and arrive once."""
    here, there = urls(cluster)
    topic, user = f"good.{name}", f"listener-{name}"
    async with clients((here, "speaker"), (there, user)) as (speaker, listener):
        await listener.subscribe(topic)
        hearing = Hearing(listener)

        async def broadcast(number: int) -> bool:
            ack = await speaker.broadcast(topic, number)
            assert (ack["status"], ack["recipients"]) == ("delivered", 1), number
            return True

        async def message(number: int) -> bool:
            ack = await speaker.direct_message(user, number)
            assert ack["status"] == "delivered"
            return True

        talks = [Talk(broadcast), Talk(message)]
        await asyncio.gather(*(talk.resumed(0) for talk in talks))
        yield talks, hearing
        await asyncio.gather(*(talk.stop() for talk in talks))
        for talk, kind in zip(talks, ("Broadcast", "DirectMessage"), strict=True):
            assert all(result for _, result in talk.results), "a good command had a 503"
            told = hearing.payloads(kind)
            assert [one for one in told if isinstance(one, int)] == list(
                range(1, len(talk.results) + 1)
            )
        hearing.stop()


async def test_ten_thousand_bad_envelopes_end_no_process_and_delay_no_good_message(
    cluster: LocalCluster, rabbitmq: Troubled, scale: int
) -> None:
    await asyncio.gather(balanced(cluster, "router"), balanced(cluster, "presence_service"))
    before, yard = pids(cluster), JunkYard(SEED)
    queues = sorted(queue for queue in depths(rabbitmq) if kind_of(queue))
    kinds = Counter(map(kind_of, queues))
    assert (kinds["router"], kinds["presence"]) == (PARTITIONS, PARTITIONS)
    assert kinds.keys() == {"router", "presence", "inbox", "direct", "answers", "undelivered"}
    poison: Counter[bytes] = Counter()
    ignored: Counter[str] = Counter()
    goods: list[str] = []
    good_queue = topology.commands("router", partition_of("good.topic", PARTITIONS)).name

    async with bus(rabbitmq) as channel, undisturbed(cluster, "topic") as (talks, hearing):
        turn = itertools.cycle(queues)
        for wave in range(ENVELOPES * scale // WAVE):
            throws = []
            for _ in range(WAVE - 1):
                queue = next(turn)
                kind = kind_of(queue)
                junk = yard.piece(kind)
                throws.append(throw(channel, queue, junk.body))
                if event := IGNORED.get(kind):
                    ignored[event] += 1
                else:
                    poison.update(junk.poison)
            goods.append(f"good {wave}")
            bad = [yard.bad_item("router") for _ in range(5)]
            around = yard.good_around(bad, "good.topic", goods[-1])
            poison.update(around.poison)
            throws.append(throw(channel, good_queue, around.body))
            await asyncio.gather(*throws)
        await eventually(
            lambda: len(hearing.payloads()) >= len(talks[0].results), 20, "all is heard"
        )
        async with asyncio.timeout(60):
            while await in_poison(channel) < poison.total():  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.2)

    say(
        "F13",
        envelopes=ENVELOPES * scale,
        put_aside=poison.total(),
        ignored=ignored.total(),
        good=sum(len(talk.results) for talk in talks),
        slowest=f"{max(talk.slowest for talk in talks):.2f} s",
    )
    heard = {one["data"]["metadata"]["message_id"] for one in hearing.heard if "data" in one}
    assert heard >= set(goods)
    assert pids(cluster) == before
    assert all(service.ready for service in cluster.services)
    for event, number in ignored.items():
        assert lines(cluster, event) == number
    async with bus(rabbitmq) as channel:
        assert await read_poison(channel, poison.total()) == poison
        assert await in_poison(channel) == 0
    await nothing_waits(rabbitmq)


SENDER = Sender("junk", "junk", "junk")
LONG = ".".join(["a"] * 300)
DELIVERY = DirectDelivery("dm_1", "listener", "junk", b"1", b"", 1, "dm_1", "", ["gateway-2"])
SENSELESS: dict[str, tuple[str, list[bytes]]] = {
    "a partition that does not exist": (
        "inbox",
        [codec.encode(DeliveryBatch(n, 1, 5, 0, [])) for n in (16, -17, 2**40, 2**63)],
    ),
    "times beyond all clocks": (
        "inbox",
        [
            codec.encode(DeliveryBatch(17, 1, 0, 0, [Raw(codec.encode(one))]))
            for at in (-(2**63), 2**64 - 1)
            for one in [TopicDelivery("p", 1, "m", "good.x", b"1", b"", "junk", at, False, "", "")]
        ],
    ),
    "a topic of no words": (
        "inbox",
        [
            codec.encode(DeliveryBatch(17, 1, 0, 0, [Raw(codec.encode(one))]))
            for topic in ("", "..", "#", LONG)
            for one in [TopicDelivery("q", 9, "m", topic, b"1", b"", "junk", 1, False, "", "")]
        ],
    ),
    "a message for nobody here": (
        "direct",
        [
            codec.encode(DeliveryBatch(p, 1, 0, 0, [Raw(codec.encode(one))]))
            for p in (16, 2**40)
            for one in [
                DirectDelivery("dm", "nobody", "junk", b"1", b"", 1, "", "", ["x"], ttl=-1.0),
                DirectDelivery("", "", "", b"", b"", -1, "", "", [], ttl=float("nan")),
            ]
        ],
    ),
    "answers that nobody waits for": (
        "answers",
        [codec.encode([Receipt("", "", n)]) for n in (-1, 2**63, 2**64 - 1)],
    ),
    "broadcasts on impossible topics": (
        "router",
        [
            codec.encode(CommandBatch(SENDER, "", [Numbered(n, Raw(codec.encode(one)))]))
            for n, topic in enumerate(("", "..", "#", "*", LONG), 1)
            for one in [RouteBroadcast("m", topic, b"NaN", b"{{", answer=False)]
        ],
    ),
    "messages that can wait for no time": (
        "presence",
        [
            codec.encode(CommandBatch(SENDER, "", [Numbered(n, Raw(codec.encode(one)))]))
            for n, ttl in enumerate((float("nan"), float("-inf"), -1.0, 1e308), 1)
            for one in [RouteDirectMessage("dm", "no\ud7ffbody", "junk", b"1e400", b"", ttl)]
        ],
    ),
}


@pytest.mark.parametrize(("kind", "bodies"), SENSELESS.values(), ids=SENSELESS)
async def test_what_can_be_read_and_makes_no_sense_ends_no_process(
    cluster: LocalCluster, rabbitmq: Troubled, kind: str, bodies: list[bytes]
) -> None:
    await asyncio.gather(balanced(cluster, "router"), balanced(cluster, "presence_service"))
    before = pids(cluster)
    try:
        async with (
            bus(rabbitmq) as channel,
            undisturbed(cluster, secrets.token_hex(4)) as (talks, _),
        ):
            for queue in depths(rabbitmq):
                if kind_of(queue) == kind:
                    await asyncio.gather(*(throw(channel, queue, body) for body in bodies))
            await asyncio.gather(*(talk.resumed(talk.results[-1][0]) for talk in talks))
        assert pids(cluster) == before
        assert all(service.ready for service in cluster.services)
    finally:
        for service in cluster.services:
            if not service.running:
                print(service.node_id, service.log.read_text()[-1500:])  # noqa: T201 - its last words
                service.start()
        await asyncio.to_thread(cluster.wait_ready)
        async with bus(rabbitmq) as channel:
            await (await channel.get_queue(POISON)).purge()
