"""One process of the router or the presence service: its connection, heartbeat and reigns."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import structlog
from ulid import ULID

from shared.broker import topology
from shared.broker.ports import Arrived, Broker, Channel, Connection, raise_when_lost
from shared.errors import BrokerUnavailable
from shared.messages.envelopes import Sender
from shared.ownership.effects import Owner
from shared.ownership.leases import Change, Leases
from shared.ownership.news import News
from shared.ownership.reign import Announce, Reign, announce_nothing, next_term

log = structlog.get_logger()

TICK_SECONDS = 0.5
RETRY_SECONDS = 0.5

MakeOwner = Callable[[Leases, bool], Owner]
"""Make a partition's owner from the living nodes and whether this is its first reign ever."""


class Signal(Enum):
    """What a reign hears besides messages."""

    DUE = "due"
    """Time has passed, or a node has ended."""

    LOST = "lost"
    """The channel is gone."""


@dataclass
class Reigning:
    """What a replica knows of one partition while it serves it or stands by."""

    arrivals: "asyncio.Queue[Arrived | Signal]" = field(default_factory=asyncio.Queue)
    reign: Reign | None = None
    due: bool = False
    """Whether ``Signal.DUE`` waits among the arrivals."""


@dataclass
class Presently:
    """One life of the replica's connection."""

    sender: Sender
    publisher: Channel
    answers: str = ""


class Replica:
    """Serves or stands by for every partition of one service.

    RabbitMQ picks the active consumer of each partition's queue. The first message that arrives
    begins a reign; the end of the channel ends it.
    """

    def __init__(
        self,
        broker: Broker,
        service: str,
        node_id: str,
        partitions: int,
        make_owner: MakeOwner,
        *,
        announce: Announce = announce_nothing,
    ) -> None:
        self.service = service
        self.process = str(ULID())
        self.announce = announce
        self._broker = broker
        self._node_id = node_id
        self._partitions = partitions
        self._make_owner = make_owner
        self._reigning: list[Reigning] = []
        self._consuming: set[int] = set()
        self._news: News | None = None
        self._presently: Presently | None = None
        self._lives = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether it consumes or stands by everywhere, and its heartbeat comes back."""
        fresh = self._news is not None and self._news.fresh
        return fresh and len(self._consuming) == self._partitions

    @property
    def owned(self) -> int:
        """How many partitions it serves now."""
        return len(self._terms())

    @property
    def nodes(self) -> int:
        """How many gateways it believes to be alive."""
        return len(self._news.leases.alive) if self._news is not None else 0

    async def run(self) -> None:
        """Serve for ever; whenever the connection is lost, begin again from nothing."""
        while True:
            try:
                await self._live()
            except BrokerUnavailable as error:
                log.warning("connection lost", action="reconnect", error=str(error))
            await asyncio.sleep(RETRY_SECONDS)

    async def life(self) -> Presently:
        """Wait for the present connection."""
        while self._presently is None:
            await self._lives.wait()
        return self._presently

    async def _live(self) -> None:
        connection = await self._broker.connect(f"{self.service} {self._node_id}")
        try:
            publisher = await connection.channel()
            news = self._news = await self._join(connection, publisher)
            self._reigning = [Reigning() for _ in range(self._partitions)]
            async with asyncio.TaskGroup() as group:
                group.create_task(raise_when_lost(connection))
                group.create_task(raise_when_lost(news))
                group.create_task(raise_when_lost(publisher))
                group.create_task(news.listen())
                group.create_task(news.beat())
                group.create_task(self._tick())
                for partition in range(self._partitions):
                    group.create_task(self._serve(connection, news, partition))
        except* BrokerUnavailable as errors:
            raise BrokerUnavailable(str(errors.exceptions[0])) from errors
        finally:
            self._news = self._presently = None
            self._lives.clear()
            await connection.close()

    async def _join(self, connection: Connection, publisher: Channel) -> News:
        channel = await connection.channel(prefetch=1000)
        await channel.declare(topology.POISON)
        sender = Sender(self._node_id, self.process, str(ULID()))
        self._presently = Presently(sender, publisher)
        self._lives.set()
        return News(channel, self.service, self.process, terms=self._terms, apply=self._apply)

    def _terms(self) -> dict[int, int]:
        return {p: one.reign.term for p, one in enumerate(self._reigning) if one.reign is not None}

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            for one in self._reigning:
                if one.reign is not None and not one.due:
                    one.due = True
                    one.arrivals.put_nowait(Signal.DUE)

    def _apply(self, change: Change) -> None:
        for sender in change.ended:
            for one in self._reigning:
                if one.reign is not None:
                    one.reign.node_ended(sender, clean=change.clean)
                    one.arrivals.put_nowait(Signal.DUE)

    # ---- partitions ------------------------------------------------------------------------------

    async def _serve(self, connection: Connection, news: News, partition: int) -> None:
        """Reign or stand by over one partition; a lost channel is joined anew."""
        while True:
            try:
                await self._stand_by(connection, news, partition)
            except BrokerUnavailable as error:
                log.debug("reign over", action="rejoin", partition=partition, error=str(error))
            await asyncio.sleep(RETRY_SECONDS)

    async def _stand_by(self, connection: Connection, news: News, partition: int) -> None:
        one = self._reigning[partition]
        one.arrivals, one.due = asyncio.Queue(), False
        channel = await connection.channel()
        try:
            queue = topology.commands(self.service, partition)
            await channel.declare(topology.terms(self.service, partition))
            await channel.declare(queue)
            await channel.consume(queue.name, one.arrivals.put_nowait)
            self._consuming.add(partition)
            await self._reign(channel, news, partition)
        finally:
            self._consuming.discard(partition)
            one.reign = None
            await channel.close()

    async def _reign(self, channel: Channel, news: News, partition: int) -> None:
        one = self._reigning[partition]
        watch = asyncio.ensure_future(_report_loss(channel, one.arrivals))
        try:
            arrived = await _next_arrived(one.arrivals)
            terms = topology.terms(self.service, partition)
            term = await next_term(channel, terms, news.term_heard(partition))
            owner = self._make_owner(news.leases, term == 1)
            reign = one.reign = Reign(partition, term, owner, channel, news, self.announce)
            log.debug("reign begins", action="reign", partition=partition, term=reign.term)
            await news.say_terms()
            await reign.perform(arrived)
            while True:
                match await one.arrivals.get():
                    case Arrived() as arrived:
                        await reign.perform(arrived)
                    case Signal.DUE:
                        one.due = False
                        await reign.tick()
                    case Signal.LOST:
                        raise BrokerUnavailable("The channel was lost")
        finally:
            watch.cancel()


async def _report_loss(channel: Channel, arrivals: "asyncio.Queue[Arrived | Signal]") -> None:
    await channel.lost()
    arrivals.put_nowait(Signal.LOST)


async def _next_arrived(arrivals: "asyncio.Queue[Arrived | Signal]") -> Arrived:
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
