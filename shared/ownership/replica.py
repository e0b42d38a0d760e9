"""One process of the router or the presence service: its connection, heartbeat and reigns."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import structlog
from ulid import ULID

from shared.broker import topology
from shared.broker.ports import Arrived, Broker, Channel, Connection, raise_when_lost
from shared.errors import BrokerUnavailable
from shared.messages import codec
from shared.messages.envelopes import CommandBatch, Sender
from shared.ownership.effects import Owner
from shared.ownership.leases import Change, Leases
from shared.ownership.log import Log
from shared.ownership.news import News
from shared.ownership.reign import Announce, Reign, announce_nothing

log = structlog.get_logger()

TICK_SECONDS = 0.5
RETRY_SECONDS = 0.5
KNOCK_SECONDS = 1.0

MakeOwner = Callable[[Leases], Owner]
"""Make a partition's owner, given the living nodes."""


class Signal(Enum):
    """What a reign hears besides messages."""

    DUE = "due"
    """Time has passed, or a node has ended."""

    YIELD = "yield"
    """Another replica should own the partition, and stands by for it."""

    LOST = "lost"
    """The channel is gone."""


@dataclass
class Reigning:
    """What a replica knows of one partition while it serves it or stands by."""

    arrivals: "asyncio.Queue[Arrived | Signal]" = field(default_factory=asyncio.Queue)
    reign: Reign | None = None
    due: bool = False
    """Whether ``Signal.DUE`` waits among the arrivals."""

    stands_by: bool = False
    """Whether it consumes the partition's commands: RabbitMQ chooses among those who do."""


@dataclass
class Life:
    """One life of the replica's connection."""

    sender: Sender
    connection: Connection
    publisher: Channel
    answers: str = ""


Beside = Callable[[Life], Coroutine[Any, Any, None]]
"""What else a replica does during one life of its connection."""


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
        beside: Beside | None = None,
    ) -> None:
        self.service = service
        self.process = str(ULID())
        self.announce = announce
        self._broker = broker
        self._node_id = node_id
        self._partitions = partitions
        self._make_owner = make_owner
        self._beside = beside
        self._reigning: list[Reigning] = []
        self._news: News | None = None
        self._presently: Life | None = None
        self._lives = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether it consumes or stands by everywhere, and its heartbeat comes back."""
        fresh = self._news is not None and self._news.fresh
        return fresh and all(one.stands_by for one in self._reigning)

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

    async def life(self) -> Life:
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
                group.create_task(self._knock())
                if self._beside is not None:
                    group.create_task(self._beside(await self.life()))
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
        self._presently = Life(sender, connection, publisher)
        self._lives.set()
        return News(
            channel,
            self.service,
            self.process,
            place=lambda: (self._terms(), self._standing_by()),
            apply=self._apply,
            beat_returned=self._balance,
        )

    def _terms(self) -> dict[int, int]:
        return {p: one.reign.term for p, one in enumerate(self._reigning) if one.reign is not None}

    def _standing_by(self) -> list[int]:
        return [p for p, one in enumerate(self._reigning) if one.stands_by and one.reign is None]

    def _balance(self) -> None:
        """Give up what another replica should own: by ending the reign, for nothing else is safe.

        A successor would overtake what a mere cancellation leaves unacknowledged.
        """
        if self._news is None:
            return
        owned = {p: one.reign.seconds for p, one in enumerate(self._reigning) if one.reign}
        for partition in self._news.peers.due_to_others(owned, self._partitions):
            self._reigning[partition].arrivals.put_nowait(Signal.YIELD)

    async def _knock(self) -> None:
        """Send an empty batch to where nobody reigns: the first that arrives begins a reign."""
        while True:
            await asyncio.sleep(KNOCK_SECONDS)
            life = await self.life()
            empty = codec.encode(CommandBatch(life.sender, "", []))
            for partition in self._standing_by():
                if self._news is None or self._news.peers.serve(partition):
                    continue
                to = topology.queue_address(topology.commands(self.service, partition))
                try:
                    await life.publisher.publish(empty, to)
                except BrokerUnavailable as error:
                    log.debug("not heard", action="knock", partition=partition, error=str(error))

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
        await _unblocked(connection)
        channel = await connection.channel()
        watch = asyncio.ensure_future(_report_loss(channel, one.arrivals))
        try:
            queue = topology.commands(self.service, partition)
            await channel.declare(queue)
            await channel.consume(queue.name, one.arrivals.put_nowait)
            one.stands_by = True
            arrived = await _next_arrived(one.arrivals)
            reign = await self._begin(connection, channel, news, partition)
            await self._reign(connection, reign, arrived)
        finally:
            watch.cancel()
            one.stands_by = False
            one.reign = None
            await channel.close()

    async def _begin(
        self, connection: Connection, channel: Channel, news: News, partition: int
    ) -> Reign:
        owner = self._make_owner(news.leases)
        records = Log(connection, channel, self.service, partition)
        await records.begin(news.peers.highest_term(partition), owner.replay)
        return Reign(partition, owner, channel, records, news, self.announce)

    async def _reign(self, connection: Connection, reign: Reign, arrived: Arrived) -> None:
        one = self._reigning[reign.partition]
        one.reign = reign
        older_ms = reign.begin()
        log.debug("reign begins", action="reign", partition=reign.partition, term=reign.term)
        filling = asyncio.ensure_future(_fill(reign, older_ms, one.arrivals))
        try:
            if self._news is not None:
                await self._news.say_place()
            await reign.perform(arrived)
            while True:
                match await one.arrivals.get():
                    case Arrived() as arrived:
                        await _unblocked(connection)
                        await reign.perform(arrived)
                    case Signal.DUE:
                        one.due = False
                        await _unblocked(connection)
                        await reign.tick()
                    case Signal.YIELD:
                        log.debug("reign given up", action="yield", partition=reign.partition)
                        return
                    case Signal.LOST:
                        raise BrokerUnavailable("The channel was lost")
        finally:
            filling.cancel()


async def _unblocked(connection: Connection) -> None:
    """Wait while the broker takes nothing: to try would only wear out what waits to be done."""
    while connection.is_blocked:  # noqa: ASYNC110 - nobody tells when it ends
        await asyncio.sleep(0.1)


async def _fill(
    reign: Reign, older_ms: int | None, arrivals: "asyncio.Queue[Arrived | Signal]"
) -> None:
    if older_ms is None:
        return
    try:
        await reign.fill(older_ms)
    except BrokerUnavailable as error:
        log.warning("log not read", action="end", partition=reign.partition, error=str(error))
        arrivals.put_nowait(Signal.LOST)
    else:
        arrivals.put_nowait(Signal.DUE)


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
