"""One process of the router or the presence service: its connection, heartbeat and reigns."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import structlog
from ulid import ULID

from shared.broker import topology
from shared.broker.ports import Arrived, Broker, Channel, Connection
from shared.clock import wall_clock_ms
from shared.errors import BrokerUnavailable
from shared.messages import codec
from shared.messages.envelopes import Heartbeat, Lease, LeaseEnded, Sender
from shared.ownership.effects import Owner
from shared.ownership.leases import Change, Leases
from shared.ownership.reign import Announce, Reign, announce_nothing, next_term

log = structlog.get_logger()

HEARTBEAT_SECONDS = 1.0
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
        self.leases = Leases()
        self._broker = broker
        self._node_id = node_id
        self._partitions = partitions
        self._make_owner = make_owner
        self._reigning: list[Reigning] = []
        self._presently: asyncio.Future[Presently] | None = None
        self.announce = announce
        self._clock_heard_ms = 0
        self._consuming = 0
        self._echo_at = float("-inf")
        self._beat_number = 0
        self._terms_heard: dict[int, int] = {}

    @property
    def ready(self) -> bool:
        """Whether it consumes or stands by everywhere, and its heartbeat comes back."""
        fresh = time.monotonic() - self._echo_at < 5 * HEARTBEAT_SECONDS
        return fresh and self._consuming == self._partitions

    @property
    def owned(self) -> int:
        """How many partitions it serves now."""
        return sum(1 for one in self._reigning if one.reign is not None)

    def now_ms(self) -> int:
        """Return the time to stamp with: never behind the highest clock heard of."""
        return max(wall_clock_ms(), self._clock_heard_ms)

    def heard(self, sender: Sender) -> None:
        """Note that a node spoke through a partition's queue."""
        self._apply(self.leases.renewed(sender))

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
        if self._presently is None:
            self._presently = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self._presently)

    async def _live(self) -> None:
        self.leases = Leases()
        self._reigning = [Reigning() for _ in range(self._partitions)]
        self._consuming = 0
        connection = await self._broker.connect(f"{self.service} {self._node_id}")
        try:
            news = await connection.channel(prefetch=1000)
            heard: asyncio.Queue[Arrived] = asyncio.Queue()
            queue = topology.news(self.process, topology.FROM_GATEWAYS, topology.FROM_SERVICES)
            await news.declare(topology.POISON)
            await news.declare(queue)
            await news.consume(queue.name, heard.put_nowait)
            self._begin_life(await connection.channel())
            async with asyncio.TaskGroup() as group:
                group.create_task(_raise_when_lost(connection))
                group.create_task(self._listen(news, heard))
                group.create_task(self._beat(news))
                group.create_task(self._tick())
                for partition in range(self._partitions):
                    group.create_task(self._serve(connection, partition))
        except* BrokerUnavailable as errors:
            raise BrokerUnavailable(str(errors.exceptions[0])) from errors
        finally:
            self._end_life()
            await connection.close()

    def _begin_life(self, publisher: Channel) -> None:
        if self._presently is None:
            self._presently = asyncio.get_running_loop().create_future()
        sender = Sender(self._node_id, self.process, str(ULID()))
        self._presently.set_result(Presently(sender, publisher))

    def _end_life(self) -> None:
        self._consuming = 0
        self._echo_at = float("-inf")
        if self._presently is not None and self._presently.done():
            self._presently = None

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            for one in self._reigning:
                if one.reign is not None and one.arrivals.empty():
                    one.arrivals.put_nowait(Signal.DUE)

    # ---- news ------------------------------------------------------------------------------------

    async def _beat(self, channel: Channel) -> None:
        while True:
            self._beat_number += 1
            await self._announce_terms(channel)
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _announce_terms(self, channel: Channel) -> None:
        terms = {p: one.reign.term for p, one in enumerate(self._reigning) if one.reign is not None}
        beat = Heartbeat(self.service, self.process, self._beat_number, wall_clock_ms(), terms)
        await channel.publish(codec.encode(beat), topology.fanout_address(topology.FROM_SERVICES))

    async def _listen(self, channel: Channel, heard: "asyncio.Queue[Arrived]") -> None:
        while True:
            arrived = await heard.get()
            try:
                news = codec.decode(arrived.body, codec.NEWS)
            except codec.Undecodable as error:
                log.warning("bad news", action="ignore", error=str(error))
            else:
                await self._heed(news, channel)
            await channel.acknowledge(arrived)

    async def _heed(self, news: Heartbeat | Lease | LeaseEnded, channel: Channel) -> None:
        match news:
            case Lease():
                self._clock_heard_ms = max(self._clock_heard_ms, news.clock_ms)
                change = self.leases.renewed(news.sender)
            case LeaseEnded():
                change = self.leases.ended(news.sender, clean=news.clean)
            case Heartbeat(replica=self.process):
                self._echo_at = time.monotonic()
                change = self.leases.beat_returned(news.beat)
                for gone in change.ended:
                    log.warning("lease ran out", action="expire", node=gone.node_id)
                    await self._tell_ended(channel, LeaseEnded(gone, clean=False))
            case Heartbeat():
                self._hear_terms(news)
                return
        if change.refused is not None:
            await self._tell_ended(
                channel, LeaseEnded(change.refused, clean=False, superseded=change.superseded)
            )
        self._apply(change)

    async def _tell_ended(self, channel: Channel, news: LeaseEnded) -> None:
        await channel.publish(codec.encode(news), topology.fanout_address(topology.FROM_SERVICES))

    def _hear_terms(self, news: Heartbeat) -> None:
        self._clock_heard_ms = max(self._clock_heard_ms, news.clock_ms)
        if news.service == self.service:
            for partition, term in news.terms.items():
                self._terms_heard[partition] = max(term, self._terms_heard.get(partition, 0))

    def _apply(self, change: Change) -> None:
        for sender in change.ended:
            for one in self._reigning:
                if one.reign is not None:
                    one.reign.owner.node_ended(sender, self.now_ms(), clean=change.clean)
                    one.arrivals.put_nowait(Signal.DUE)

    # ---- partitions ------------------------------------------------------------------------------

    async def _serve(self, connection: Connection, partition: int) -> None:
        """Reign or stand by over one partition; a lost channel is joined anew."""
        one = self._reigning[partition]
        while True:
            channel = await connection.channel()
            one.arrivals = asyncio.Queue()
            queue = topology.commands(self.service, partition)
            await channel.declare(topology.terms(self.service, partition))
            await channel.declare(queue)
            await channel.consume(queue.name, one.arrivals.put_nowait)
            self._consuming += 1
            try:
                await self._reign(channel, partition, one)
            except BrokerUnavailable as error:
                log.warning("reign over", action="rejoin", partition=partition, error=str(error))
            finally:
                self._consuming -= 1
                one.reign = None
                await channel.close()
            await asyncio.sleep(RETRY_SECONDS)

    async def _reign(self, channel: Channel, partition: int, one: Reigning) -> None:
        watch = asyncio.ensure_future(_report_loss(channel, one.arrivals))
        try:
            arrived = await _next_arrived(one.arrivals)
            heard = self._terms_heard.get(partition, 0)
            term = await next_term(channel, topology.terms(self.service, partition), heard)
            owner = self._make_owner(self.leases, term == 1)
            reign = one.reign = Reign(partition, term, owner, channel, self)
            log.debug("reign begins", action="reign", partition=partition, term=reign.term)
            await self._announce_terms(channel)
            await reign.perform(arrived)
            while True:
                match await one.arrivals.get():
                    case Arrived() as arrived:
                        await reign.perform(arrived)
                    case Signal.DUE:
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


async def _raise_when_lost(connection: Connection) -> None:
    await connection.lost()
    raise BrokerUnavailable("The connection was lost")
