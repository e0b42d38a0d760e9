"""Direct messages that no gateway took in time: each goes back to whoever knows its user."""

import asyncio

import structlog
from msgspec import Raw

from shared.broker import topology
from shared.broker.ports import Arrived, Channel, raise_when_lost
from shared.messages import codec
from shared.messages.deliveries import Dismissal, SettleAsked
from shared.messages.envelopes import CommandBatch, DirectMessageUndelivered, Numbered, Settled
from shared.ownership.counts import Counts
from shared.ownership.replica import Life
from shared.partitions import partition_of

log = structlog.get_logger()


class Undelivered:
    """Moves what the broker has put aside into the command queues of the users' partitions.

    The replicas share the work. What is moved does not count among any sender's numbers: it may
    come twice, and is known by its message id.
    """

    def __init__(self, partitions: int, counts: Counts) -> None:
        self._partitions = partitions
        self._counts = counts
        self.moved = 0

    async def run(self, life: Life) -> None:
        """Move what is put aside, for as long as this life lasts.

        Raises:
            BrokerUnavailable: the life is over.
        """
        channel = await life.connection.channel()
        arrivals: asyncio.Queue[Arrived] = asyncio.Queue()
        await channel.declare(topology.UNDELIVERED)
        await channel.consume(topology.UNDELIVERED.name, arrivals.put_nowait)
        async with asyncio.TaskGroup() as group:
            group.create_task(raise_when_lost(channel))
            while True:
                arrived = await arrivals.get()
                await self._move(channel, arrived, life)
                await channel.acknowledge(arrived)

    async def _move(self, channel: Channel, arrived: Arrived, life: Life) -> None:
        try:
            batch = codec.decode(arrived.body, codec.DELIVERY_BATCH)
            deliveries = [codec.decode(bytes(one), codec.DIRECT_DELIVERY) for one in batch.items]
        except codec.Undecodable as error:
            log.warning("bad deliveries", action="poison", error=str(error))
            to = topology.queue_address(topology.POISON)
            await channel.publish(arrived.body, to, persistent=True)
            self._counts.poisoned.inc()
            return
        for delivery in deliveries:
            command: DirectMessageUndelivered | Settled
            if isinstance(delivery, Dismissal):
                continue  # its connections are gone
            if isinstance(delivery, SettleAsked):  # what came before it has come here, too
                command = Settled(delivery.user_id, delivery.node_id)
                partition = batch.partition % self._partitions
            else:
                command = DirectMessageUndelivered(delivery)
                partition = partition_of(delivery.target_user, self._partitions)
            items = [Numbered(0, Raw(codec.encode(command)))]
            to = topology.queue_address(topology.commands(topology.PRESENCE, partition))
            await channel.publish(
                codec.encode(CommandBatch(life.sender, "", items)), to, persistent=True
            )
            self.moved += 1
