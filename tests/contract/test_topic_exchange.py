"""Our wildcards are AMQP's: the trie finds what a real topic exchange finds."""

import asyncio
import secrets
from collections import defaultdict
from itertools import product

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage

from shared.topics.trie import Trie

THE_END = b""


def words(alphabet: str, *lengths: int) -> list[str]:
    return [".".join(some) for length in lengths for some in product(alphabet, repeat=length)]


PATTERNS = [
    *words("ab*", 1, 2, 3, 4),
    "#",
    *(f"{start}.#" for start in words("ab*", 1, 2, 3)),
]
TOPICS = words("abc", 1, 2, 3, 4)


@pytest.mark.rabbitmq
async def test_the_trie_agrees_with_a_topic_exchange_on_every_pattern(rabbitmq_url: str) -> None:
    trie = Trie()
    for pattern in PATTERNS:
        trie.add(pattern)
    expected = defaultdict(set)
    for topic in TOPICS:
        for pattern in trie.match(topic):
            expected[pattern].add(topic)

    async with asyncio.timeout(60):
        found = await ask_rabbitmq(rabbitmq_url)

    assert {pattern: found[pattern] for pattern in PATTERNS} == {
        pattern: expected[pattern] for pattern in PATTERNS
    }


async def ask_rabbitmq(url: str) -> dict[str, set[str]]:
    """Return the topics that reach a queue bound with each pattern."""
    found: dict[str, set[str]] = defaultdict(set)
    unfinished = set(PATTERNS)
    finished = asyncio.Event()

    async def collect(message: AbstractIncomingMessage) -> None:
        pattern = pattern_of[message.consumer_tag or ""]
        if message.body != THE_END:
            found[pattern].add(message.body.decode())
            return
        unfinished.remove(pattern)
        if not unfinished:
            finished.set()

    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        name = f"test.{secrets.token_hex(4)}"
        exchange = await channel.declare_exchange(name, "topic", auto_delete=True)
        queues = [await channel.declare_queue(exclusive=True) for _ in PATTERNS]
        pattern_of = {queue.name: pattern for queue, pattern in zip(queues, PATTERNS, strict=True)}
        for queue in queues:
            await queue.bind(exchange, pattern_of[queue.name])
        for topic in TOPICS:
            await exchange.publish(aio_pika.Message(topic.encode()), topic)
        for queue in queues:
            await channel.default_exchange.publish(aio_pika.Message(THE_END), queue.name)
        for queue in queues:
            await queue.consume(collect, no_ack=True, consumer_tag=queue.name)
        await finished.wait()
    return found
