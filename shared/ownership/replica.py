"""One process of the router or the presence service: its connection, heartbeat and reigns."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from ulid import ULID

from shared.broker import topology
from shared.broker.ports import Broker, Channel, Connection, raise_when_lost
from shared.cancellation import heed_cancellation
from shared.errors import BrokerUnavailable
from shared.messages import codec
from shared.messages.envelopes import CommandBatch, Sender
from shared.ownership.counts import Counts
from shared.ownership.leases import Change
from shared.ownership.news import News, Place
from shared.ownership.reign import Announce, announce_nothing
from shared.ownership.seat import MakeOwner, Seat
from shared.trail import Trail

log = structlog.get_logger()

TICK_SECONDS = 0.5
RETRY_SECONDS = 0.5
KNOCK_SECONDS = 1.0


@dataclass
class Life:
    """One life of the replica's connection."""

    sender: Sender
    connection: Connection
    publisher: Channel
    answers: str = ""


Kind = TypeVar("Kind")
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
        counts: Counts,
        trail: Trail,
        *,
        announce: Announce = announce_nothing,
        beside: Beside | None = None,
    ) -> None:
        self.service = service
        self.process = str(ULID())
        self._broker = broker
        self._node_id = node_id
        self._partitions = partitions
        self._trail = trail
        self._beside = beside
        self._seats = [
            Seat(service, partition, make_owner, announce, counts, trail)
            for partition in range(partitions)
        ]
        self._news: News | None = None
        self._presently: Life | None = None
        self._lives = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether it consumes or stands by everywhere, and its heartbeat comes back."""
        fresh = self._news is not None and self._news.fresh
        return fresh and all(seat.consumes for seat in self._seats)

    @property
    def seats(self) -> Sequence[Seat]:
        """Its place at each partition."""
        return self._seats

    @property
    def owned(self) -> int:
        """How many partitions it serves now."""
        return len(self._terms())

    @property
    def waiting(self) -> int:
        """How many batches it was handed by the broker and has not begun."""
        return sum(seat.waiting for seat in self._seats)

    @property
    def logs_refused(self) -> int:
        """How many partitions it could not serve for their logs, and nobody else serves."""
        peers = self._news.peers if self._news is not None else None
        return sum(
            seat.log_refused and not (peers and peers.serve(seat.partition)) for seat in self._seats
        )

    def owners(self, kind: type[Kind]) -> list[Kind]:
        """Return what serves its partitions; ``kind`` is this service's."""
        owners = [seat.reign.owner for seat in self._seats if seat.reign]
        return [one for one in owners if isinstance(one, kind)]

    @property
    def nodes(self) -> int:
        """How many gateways it believes to be alive."""
        return len(self._news.leases.alive) if self._news is not None else 0

    async def run(self) -> None:
        """Serve for ever; whenever the connection is lost, begin again from nothing."""
        while True:
            try:
                await asyncio.create_task(self._live())
            except BrokerUnavailable as error:
                heed_cancellation()
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
            async with asyncio.TaskGroup() as group:
                group.create_task(raise_when_lost(connection))
                group.create_task(raise_when_lost(news))
                group.create_task(raise_when_lost(publisher))
                group.create_task(news.listen())
                group.create_task(news.answer())
                group.create_task(news.beat())
                group.create_task(self._tick())
                group.create_task(self._knock())
                if self._beside is not None:
                    group.create_task(self._beside(await self.life()))
                for seat in self._seats:
                    group.create_task(seat.serve(connection, news))
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
            self._trail,
            place=self._place,
            apply=self._apply,
            beat_returned=self._balance,
        )

    def _place(self) -> Place:
        performed = sum(seat.performed for seat in self._seats)
        return Place(self._terms(), self._standing_by(), self._node_id, performed)

    def _terms(self) -> dict[int, int]:
        return {seat.partition: seat.reign.term for seat in self._seats if seat.reign}

    def _standing_by(self) -> list[int]:
        return [seat.partition for seat in self._seats if seat.consumes and not seat.reign]

    def _balance(self) -> None:
        """Give up what another replica should own: by ending the reign, for nothing else is safe.

        A successor would overtake what a mere cancellation leaves unacknowledged.
        """
        if self._news is None:
            return
        owned = {seat.partition: seat.reign.seconds for seat in self._seats if seat.reign}
        for partition in self._news.peers.due_to_others(owned, self._partitions):
            self._seats[partition].give_up()

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
                    heed_cancellation()
                    log.debug("not heard", action="knock", partition=partition, error=str(error))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            for seat in self._seats:
                seat.remind()

    def _apply(self, change: Change) -> None:
        for sender in change.ended:
            for seat in self._seats:
                seat.node_ended(sender, clean=change.clean)
