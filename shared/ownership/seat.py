"""One replica's place at one partition: standing by, or reigning."""

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import TypeAlias

import structlog

from shared.broker import topology
from shared.broker.ports import Arrived, Channel, Connection
from shared.cancellation import heed_cancellation
from shared.errors import BrokerUnavailable
from shared.messages.envelopes import Sender
from shared.ownership.counts import Counts
from shared.ownership.effects import Owner
from shared.ownership.leases import Leases
from shared.ownership.log import Log, TermTaken, Unreadable
from shared.ownership.news import News
from shared.ownership.reign import Announce, Reign
from shared.trail import Trail

log = structlog.get_logger()

RETRY_SECONDS = 0.5
UNREADABLE_SECONDS = 30.0

MakeOwner = Callable[[Leases], Owner]
"""Make a partition's owner, given the living nodes."""


class Signal(Enum):
    """What a seat hears besides messages."""

    DUE = "due"
    """Time has passed, or a node has ended."""

    YIELD = "yield"
    """Another replica should own the partition, and stands by for it."""

    LOST = "lost"
    """The channel is gone."""


Arrivals: TypeAlias = "asyncio.Queue[Arrived | Signal]"


class Seat:
    """Consumes a partition's commands, as RabbitMQ's active consumer or one that waits.

    The first message that arrives begins a reign; the end of the channel ends it.
    """

    def __init__(
        self,
        service: str,
        partition: int,
        make_owner: MakeOwner,
        announce: Announce,
        counts: Counts,
        trail: Trail,
    ) -> None:
        self.partition = partition
        self.reign: Reign | None = None
        self.consumes = False
        """Whether RabbitMQ may make it the active one."""

        self.log_refused = False
        """Whether the log could not be used when this replica was to reign last."""

        self._service = service
        self._make_owner = make_owner
        self._announce = announce
        self._counts = counts
        self._trail = trail
        self._arrivals: Arrivals = asyncio.Queue()
        self._due = False
        self._performed = 0
        self._term_taken = 0

    @property
    def performed(self) -> int:
        """How many commands and facts it has carried out."""
        return self._performed + (self.reign.performed if self.reign else 0)

    @property
    def waiting(self) -> int:
        """How many batches it was handed and has not begun."""
        return self._arrivals.qsize() - self._due if self.consumes else 0

    def remind(self) -> None:
        """Have the reign do what has become due."""
        if self.reign is not None and not self._due:
            self._due = True
            self._arrivals.put_nowait(Signal.DUE)

    def node_ended(self, sender: Sender, *, clean: bool) -> None:
        """Have the reign forget what a life held that is over."""
        if self.reign is not None:
            self.reign.node_ended(sender, clean=clean)
            self.remind()

    def give_up(self) -> None:
        """End the reign after what is being carried out."""
        self._arrivals.put_nowait(Signal.YIELD)

    async def serve(self, connection: Connection, news: News) -> None:
        """Reign or stand by, for ever; a lost channel is joined anew."""
        while True:
            try:
                await self._stand_by(connection, news)
            except TermTaken as error:
                self._term_taken = error.term
            except Unreadable:
                self.log_refused = True
                await asyncio.sleep(UNREADABLE_SECONDS)  # each try wears out the commands that wait
            except BrokerUnavailable as error:
                log.debug("reign over", action="rejoin", partition=self.partition, error=str(error))
            heed_cancellation()
            await asyncio.sleep(RETRY_SECONDS)

    async def _stand_by(self, connection: Connection, news: News) -> None:
        self._arrivals, self._due = asyncio.Queue(), False
        await _unblocked(connection)
        channel = await connection.channel()
        watch = asyncio.ensure_future(_report_loss(channel, self._arrivals))
        try:
            queue = topology.commands(self._service, self.partition)
            await channel.declare(queue)
            records = Log(connection, channel, self._service, self.partition)
            await records.prepare()  # or each try to reign would wear out the commands that wait
            await channel.consume(queue.name, self._arrivals.put_nowait)
            self.consumes = True
            arrived = await _first(self._arrivals)
            reign = await self._begin(channel, records, news)
            await self._reign(connection, news, reign, arrived)
        finally:
            watch.cancel()
            self._performed = self.performed
            self.consumes, self.reign = False, None
            await channel.close()

    async def _begin(self, channel: Channel, records: Log, news: News) -> Reign:
        owner = self._make_owner(news.leases)
        heard = max(news.peers.highest_term(self.partition), self._term_taken)
        await records.begin(heard, owner.replay)
        self.log_refused = False
        return Reign(
            self.partition,
            owner,
            channel,
            records,
            news,
            self._announce,
            self._counts,
            self._trail,
        )

    async def _reign(
        self, connection: Connection, news: News, reign: Reign, arrived: Arrived
    ) -> None:
        self.reign = reign
        older_ms = reign.begin()
        self._counts.takeovers.inc()
        log.debug("reign begins", action="reign", partition=self.partition, term=reign.term)
        filling = asyncio.ensure_future(self._fill(reign, older_ms))
        try:
            await news.say_place()
            await reign.perform(arrived)
            while (signal := await self._go_on(connection, reign)) is not Signal.YIELD:
                if signal is Signal.LOST:
                    raise BrokerUnavailable("The channel was lost")
            log.debug("reign given up", action="yield", partition=self.partition)
        finally:
            filling.cancel()

    async def _go_on(self, connection: Connection, reign: Reign) -> Signal | None:
        """Perform what has arrived; return the signal behind it if there is one."""
        batches, signal = await self._arrived()
        if batches:
            await _unblocked(connection)
            await reign.perform(*batches)
        if signal is Signal.DUE:
            self._due = False
            await _unblocked(connection)
            await reign.tick()
        return signal

    async def _arrived(self) -> tuple[list[Arrived], Signal | None]:
        """Wait for a batch or signal; return all batches before the first signal, and that."""
        batches: list[Arrived] = []
        while not batches or not self._arrivals.empty():
            one = await self._arrivals.get()
            if isinstance(one, Signal):
                return batches, one
            batches.append(one)
        return batches, None

    async def _fill(self, reign: Reign, older_ms: int | None) -> None:
        if older_ms is None:
            return
        try:
            await reign.fill(older_ms)
        except BrokerUnavailable as error:
            log.warning("log not read", action="end", partition=self.partition, error=str(error))
            self._arrivals.put_nowait(Signal.LOST)
        else:
            self._arrivals.put_nowait(Signal.DUE)


async def _unblocked(connection: Connection) -> None:
    """Wait while the broker takes nothing: to try would only wear out what waits to be done."""
    while connection.is_blocked:  # noqa: ASYNC110 - nobody tells when it ends
        await asyncio.sleep(0.1)


async def _report_loss(channel: Channel, arrivals: Arrivals) -> None:
    await channel.lost()
    arrivals.put_nowait(Signal.LOST)


async def _first(arrivals: Arrivals) -> Arrived:
    """Wait for the message that begins a reign.

    Raises:
        BrokerUnavailable: the channel was lost first.
    """
    while True:
        match await arrivals.get():
            case Arrived() as arrived:
                return arrived
            case Signal.LOST:
                raise BrokerUnavailable("The channel was lost")
