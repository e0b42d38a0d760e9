"""One owner's time over one partition.

One channel is one reign: the owner consumes, publishes and acknowledges on a single channel. When
that is gone the reign is over, whatever was in flight is the successor's, and nothing more is
published for it.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from msgspec import Raw

from shared.broker import topology
from shared.broker.batching import chunks
from shared.broker.ports import Address, Arrived, Channel, Queue
from shared.errors import BrokerUnavailable, Refused, Unroutable
from shared.messages import codec
from shared.messages.envelopes import CommandBatch, DeliveryBatch, RouteBroadcast, Sender
from shared.ownership.effects import Effects, Owner
from shared.ownership.news import News

log = structlog.get_logger()

Announce = Callable[[list[RouteBroadcast]], Awaitable[None]]
"""Say something on topics; return once the broker has it, or raise BrokerUnavailable."""


async def announce_nothing(announcements: list[RouteBroadcast]) -> None:
    """Stand in for a service that never says anything on a topic itself."""


async def next_term(channel: Channel, terms: Queue, heard: int) -> int:
    """Take the number of the last reign, and leave the next one in its place.

    A reign that died in between has left two numbers: all are taken, and the highest counts. Or
    its number is not back yet: then the one that was ``heard`` of last does.

    Raises:
        BrokerUnavailable: the reign is over before it began.
    """
    found: list[Arrived] = []
    while (arrived := await channel.take(terms.name)) is not None:
        found.append(arrived)
    term = 1 + max([heard, *(_number(one.body) for one in found)])
    await channel.publish(b"%d" % term, topology.queue_address(terms), persistent=True)
    for one in found:
        await channel.acknowledge(one)
    return term


def _number(body: bytes) -> int:
    if body.isdigit():
        return int(body)
    log.warning("not a term", action="ignore", body=repr(body[:64]))
    return 0


class Reign:
    """Performs what arrives on a partition's queue, in order, until the channel is lost."""

    def __init__(
        self,
        partition: int,
        term: int,
        owner: Owner,
        channel: Channel,
        news: News,
        announce: Announce,
    ) -> None:
        self.partition = partition
        self.term = term
        self.owner = owner
        self._channel = channel
        self._news = news
        self._announce = announce

    async def perform(self, arrived: Arrived) -> None:
        """Carry out one batch and acknowledge it once all that follows from it was published.

        Raises:
            BrokerUnavailable: the reign is over; the batch will come again, to whoever is next.
        """
        try:
            batch = codec.decode(arrived.body, codec.COMMAND_BATCH)
        except codec.Undecodable as error:
            await self._poison(arrived.body, error)
        else:
            await self._perform_items(batch)
        await self.publish()
        await self._channel.acknowledge(arrived)

    async def _perform_items(self, batch: CommandBatch) -> None:
        if batch.answers:
            self._news.heard(batch.sender)
        now_ms = self._news.now_ms()
        for item in batch.items:
            envelope = bytes(item.envelope)
            try:
                self.owner.perform(batch.sender, batch.answers, item.number, envelope, now_ms)
            except codec.Undecodable as error:
                await self._poison(envelope, error)
            except Exception as error:  # one envelope's fault must not end the partition
                log.exception("fault", action="poison", partition=self.partition)
                await self._poison(envelope, error)

    def node_ended(self, sender: Sender, *, clean: bool) -> None:
        """Have the owner forget what a life held that is over."""
        self.owner.node_ended(sender, self._news.now_ms(), clean=clean)

    async def tick(self) -> None:
        """Publish what has become due.

        Raises:
            BrokerUnavailable: the reign is over.
        """
        self.owner.tick(self._news.now_ms())
        await self.publish()

    async def publish(self) -> None:
        """Publish what the owner wants published, until it wants no more.

        Raises:
            BrokerUnavailable: the reign is over.
        """
        while (effects := self.owner.take()) is not None:
            refused = await self._deliver(effects)
            await self._announce(effects.announcements)
            await self._answer(effects.answers)
            self.owner.settle(refused)

    async def _deliver(self, effects: Effects) -> frozenset[Address]:
        tries = [
            (to, asyncio.ensure_future(self._try(to, self._delivery(chunk))))
            for to, envelopes in effects.deliveries.items()
            for chunk in chunks(envelopes)
        ]
        taken = await asyncio.gather(*(attempt for _, attempt in tries))
        return frozenset(to for (to, _), ok in zip(tries, taken, strict=True) if not ok)

    async def _answer(self, answers: dict[str, list[bytes]]) -> None:
        """Whoever waited for an answer and is gone has no use for it: a refusal is no matter."""
        await asyncio.gather(
            *(
                self._try(Address(queue=queue), codec.join(chunk))
                for queue, envelopes in answers.items()
                if queue
                for chunk in chunks(envelopes)
            )
        )

    def _delivery(self, chunk: list[bytes]) -> bytes:
        items = [Raw(envelope) for envelope in chunk]
        return codec.encode(DeliveryBatch(self.partition, self.term, items))

    async def _try(self, to: Address, body: bytes) -> bool:
        try:
            await self._channel.publish(body, to)
        except (Unroutable, Refused):
            return False
        return True

    async def _poison(self, body: bytes, error: Exception) -> None:
        log.warning("bad envelope", action="poison", partition=self.partition, error=str(error))
        try:
            await self._channel.publish(
                body, topology.queue_address(topology.POISON), persistent=True
            )
        except (Unroutable, Refused) as refusal:
            raise BrokerUnavailable("The poison queue is full") from refusal
