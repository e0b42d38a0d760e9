"""One owner's time over one partition.

One channel is one reign: the owner consumes, appends, delivers and acknowledges on a single
channel. When that is gone, or another replica has a higher term, the reign is over, whatever was in
flight is the successor's, and nothing more is published for it.
"""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import structlog
from msgspec import Raw

from shared.broker import topology
from shared.broker.batching import chunks
from shared.broker.ports import Address, Arrived, Channel
from shared.clock import wall_clock_ms
from shared.errors import BrokerUnavailable, Refused, Unroutable
from shared.messages import codec
from shared.messages.deliveries import DeliveryBatch
from shared.messages.envelopes import CommandBatch, RouteBroadcast, Sender
from shared.ownership.counts import Counts
from shared.ownership.effects import Effects, Owner, Traced
from shared.ownership.log import Log
from shared.ownership.news import News
from shared.together import together
from shared.trail import Details, Trail

log = structlog.get_logger()

CHECKPOINT_SECONDS = 60.0

Announce = Callable[[list[RouteBroadcast]], Awaitable[None]]
"""Say something on topics; return once the broker has it, or raise BrokerUnavailable."""


async def announce_nothing(announcements: list[RouteBroadcast]) -> None:
    """Stand in for a service that never says anything on a topic itself."""


class Reign:
    """Performs what arrives on a partition's queue, in order, until the channel is lost."""

    def __init__(
        self,
        partition: int,
        owner: Owner,
        channel: Channel,
        records: Log,
        news: News,
        announce: Announce,
        counts: Counts,
        trail: Trail,
    ) -> None:
        self.partition = partition
        self.owner = owner
        self.performed = 0
        """Commands and facts carried out."""

        self._channel = channel
        self._log = records
        self._news = news
        self._announce = announce
        self._counts = counts
        self._trail = trail
        self._began_at = self._checkpoint_at = time.monotonic()
        self._sequences: Counter[Address] = Counter()
        self._told: dict[Address, int] = {}
        """How far each inbox has been told that the partition has come."""

    @property
    def term(self) -> int:
        """The reign's number."""
        return self._log.term

    @property
    def seconds(self) -> float:
        """How long it lasts already."""
        return time.monotonic() - self._began_at

    def begin(self) -> int | None:
        """Begin to serve, all records having been replayed; see ``Owner.begin``."""
        older = self.owner.begin(
            self._log.identity, self._news.now_ms(), whole=self._log.read_whole
        )
        for inbox in self.owner.behind:
            self._sequences[Address(queue=inbox)] = 1  # so that its node sees a hole
        for sender in list(self.owner.lives.values()):
            if self._news.told(sender):
                continue
            self.node_ended(sender, clean=False)
        return older

    async def fill(self, since_ms: int) -> None:
        """Replay what was written before the last checkpoint, while serving already.

        Raises:
            BrokerUnavailable: the log could not be read.
        """
        since = datetime.fromtimestamp(since_ms / 1000, UTC)
        await self._log.older(since, self.owner.replay_older)
        self.owner.filled(self._news.now_ms())

    async def perform(self, *arrived: Arrived) -> None:
        """Carry out batches and acknowledge them once all that follows from them was published.

        Raises:
            BrokerUnavailable: the reign is over; they will come again, to whoever is next.
        """
        for one in arrived:
            try:
                batch = codec.decode(one.body, codec.COMMAND_BATCH)
            except codec.Undecodable as error:
                await self._poison(one.body, error)
            else:
                await self._perform_items(batch)
        await self.publish()
        await self._channel.acknowledge(*arrived)
        if self._log.wants_checkpoint:
            await self._checkpoint()

    async def _perform_items(self, batch: CommandBatch) -> None:
        if batch.answers:
            self._news.heard(batch.sender)
        now_ms = self._news.now_ms()
        self.performed += len(batch.items)
        oldest = ""
        for item in batch.items:
            envelope = bytes(item.envelope)
            try:
                minted = self.owner.perform(
                    batch.sender, batch.answers, item.number, envelope, now_ms
                )
                oldest = oldest or minted
            except codec.Undecodable as error:
                await self._poison(envelope, error)
            except Exception as error:  # one envelope's fault must not end the partition
                log.exception("fault", action="poison", partition=self.partition)
                await self._poison(envelope, error)
        self._counts.batch(len(batch.items), oldest, wall_clock_ms())

    def node_ended(self, sender: Sender, *, clean: bool) -> None:
        """Have the owner forget what a life held that is over."""
        self.owner.node_ended(sender, self._news.now_ms(), clean=clean)

    async def tick(self) -> None:
        """Publish what has become due; make a checkpoint now and then.

        Raises:
            BrokerUnavailable: the reign is over.
        """
        self.owner.tick(self._news.now_ms())
        await self.publish()
        await self._mark({Address(queue=inbox) for inbox in self.owner.behind})
        age = time.monotonic() - self._checkpoint_at
        if age > CHECKPOINT_SECONDS and self._log.has_grown:
            await self._checkpoint()

    async def _checkpoint(self) -> None:
        await self._log.checkpoint(list(self.owner.checkpoint()))  # as it is at this moment
        self._checkpoint_at = time.monotonic()

    async def _mark(self, inboxes: set[Address]) -> None:
        """Tell inboxes how far their count has come, so that they see what they have missed."""
        for to in inboxes:
            try:
                await self._channel.publish(self._batch(to, [], self.owner.serial), to)
            except Unroutable:
                pass  # it is gone, and whoever comes after it asks by itself
            except Refused:
                self.owner.fell_behind(to.queue)
                continue
            if to.queue in self.owner.behind:
                self.owner.caught_up(to.queue)

    def _batch(self, to: Address, items: list[Raw], serial: int) -> bytes:
        self._told[to] = serial
        batch = DeliveryBatch(self.partition, self.term, self._sequences[to], serial, items)
        return codec.encode(batch)

    async def publish(self) -> None:
        """Publish what the owner wants published, until it wants no more.

        Raises:
            BrokerUnavailable: the reign is over.
        """
        self._heed_deposition()
        while (effects := self.owner.take()) is not None:
            with self._tracing(effects.traced):
                if effects.announcements:
                    await self._announce(effects.announcements)
                refused = await self._append_and_deliver(effects)
            self._heed_deposition()  # before anybody is promised anything
            serial = self.owner.serial
            await self._mark({to for to in effects.marks if self._told.get(to, -1) < serial})
            await self._answer(effects.answers)
            self.owner.settle(refused)

    @contextmanager
    def _tracing(self, traced: list[Traced]) -> Iterator[None]:
        """Note what is done with messages, and how long it takes until the broker has all."""
        steps = [
            (self._trail.begin(one.step, one.message_id, one.trace), one.details) for one in traced
        ]
        common: Details = {"partition": self.partition, "term": self.term}
        try:
            yield
        except BaseException as error:
            common["failed"] = type(error).__name__
            raise
        finally:
            for step, details in steps:
                step.end(**details, **common)

    def _heed_deposition(self) -> None:
        """End this reign if another replica says that it reigns with a higher term.

        The channel need not be lost by then: a consumer whose RabbitMQ node seemed to be down is
        replaced, and may go on to consume when that node is back. But what a deposed owner appends
        its successors ignore.

        Raises:
            BrokerUnavailable: so it is.
        """
        higher = self._news.peers.highest_term(self.partition)
        if higher > self.term:
            raise BrokerUnavailable("Another replica has a higher term", term=higher)

    async def _append_and_deliver(self, effects: Effects) -> frozenset[Address]:
        appends: list[Awaitable[Any]] = []
        if effects.records:
            appends.append(self._log.append(effects.records))
        addressed = [
            (to, body)
            for to, envelopes in effects.deliveries.items()
            for body in self._batches(to, envelopes)
        ]
        tries = [self._try(to, body) for to, body in addressed]
        taken = (await together([*appends, *tries]))[len(appends) :]
        refused = frozenset(
            to for (to, _), was_taken in zip(addressed, taken, strict=True) if not was_taken
        )
        if not self.owner.persistent:  # else the owner keeps what was refused
            for to in refused:
                self.owner.fell_behind(to.queue)
        return refused

    def _batches(self, to: Address, envelopes: list[bytes]) -> Iterator[bytes]:
        packed = list(chunks(envelopes))
        for number, chunk in enumerate(packed, 1):
            self._sequences[to] += 1
            serial = self.owner.serial if number == len(packed) else 0
            yield self._batch(to, [Raw(envelope) for envelope in chunk], serial)

    async def _answer(self, answers: dict[str, list[bytes]]) -> None:
        """Whoever waited for an answer and is gone has no use for it: a refusal is no matter.

        What the replica's other reigns answer goes with it.
        """
        if awaited := {queue: some for queue, some in answers.items() if queue}:
            await self._news.answers.send(awaited)

    async def _try(self, to: Address, body: bytes) -> bool:
        try:
            await self._channel.publish(body, to, persistent=self.owner.persistent)
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
        self._counts.poisoned.inc()
