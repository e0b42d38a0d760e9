"""Wires the presence service: one replica that serves or stands by for every user partition."""

import asyncio
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Gauge

from presence_service.announcer import Announcer
from presence_service.commands import PresenceOwner
from presence_service.core.mailbox import Limits
from presence_service.undelivered import Undelivered
from shared.broker import topology
from shared.broker.ports import Broker
from shared.ownership.replica import Replica
from shared.settings import Settings
from shared.trail import Trail


@dataclass(frozen=True)
class PresenceService:
    """One replica and its voice."""

    replica: Replica
    announcer: Announcer

    @property
    def ready(self) -> bool:
        """Whether it can do its work."""
        return self.replica.ready

    async def run(self) -> None:
        """Serve for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.announcer.run(self.replica.life))
            group.create_task(self.replica.run())


def make_presence(
    settings: Settings, broker: Broker, registry: CollectorRegistry, trail: Trail
) -> PresenceService:
    """Return a presence service that is ready to run."""
    limits = Limits(
        messages=settings.mailbox_messages,
        size=settings.mailbox_bytes,
        seconds=settings.mailbox_seconds,
        per_sender=settings.mailbox_per_sender,
    )
    announcer = Announcer(settings.partitions)
    undelivered = Undelivered(settings.partitions)
    replica = Replica(
        broker,
        topology.PRESENCE,
        settings.node_id,
        settings.partitions,
        lambda leases: PresenceOwner(leases, limits),
        trail,
        announce=announcer.announce,
        beside=undelivered.run,
    )
    owned = Gauge("realtime_presence_partitions", "Partitions served here", registry=registry)
    owned.set_function(lambda: replica.owned)
    return PresenceService(replica, announcer)
