"""Says on topics what has become of people: through the router, like everybody else."""

import asyncio
from collections.abc import Awaitable, Callable

from shared.broker import topology
from shared.broker.batching import Life, PartitionLink
from shared.errors import BrokerUnavailable
from shared.messages import codec
from shared.messages.envelopes import RouteBroadcast
from shared.partitions import partition_of

ANNOUNCE_SECONDS = 5.0


class Announcer:
    """The numbered links of this replica to every partition of the router."""

    def __init__(self, partitions: int) -> None:
        self._links = [
            PartitionLink(topology.queue_address(topology.commands(topology.ROUTER, partition)))
            for partition in range(partitions)
        ]

    async def run(self, life: Callable[[], Awaitable[Life]]) -> None:
        """Send what is announced, for ever."""
        async with asyncio.TaskGroup() as group:
            for link in self._links:
                group.create_task(link.run(life))

    async def announce(self, announcements: list[RouteBroadcast]) -> None:
        """Say something on topics; return once the broker has it.

        Raises:
            BrokerUnavailable: not in time; it will still be said.
        """
        submitted = [
            self._links[partition_of(one.topic, len(self._links))].insist(codec.encode(one))
            for one in announcements
        ]
        try:
            async with asyncio.timeout(ANNOUNCE_SECONDS):
                await asyncio.gather(*(asyncio.shield(one.confirmed) for one in submitted))
        except TimeoutError as error:
            raise BrokerUnavailable("An announcement was not confirmed in time") from error
