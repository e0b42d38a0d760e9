"""Wires the presence service: one replica that serves or stands by for every user partition."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from presence_service.announcer import Announcer
from presence_service.commands import PresenceOwner
from presence_service.core.mailbox import Limits
from presence_service.undelivered import Undelivered
from shared.broker import topology
from shared.broker.ports import Broker
from shared.ownership.counts import Counts
from shared.ownership.gauges import watch
from shared.ownership.replica import Replica
from shared.process.metrics import gauge
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
    counts = Counts(topology.PRESENCE, registry)
    undelivered = Undelivered(settings.partitions, counts)
    replica = Replica(
        broker,
        topology.PRESENCE,
        settings.node_id,
        settings.partitions,
        lambda leases: PresenceOwner(leases, limits, settings.max_user_connections),
        counts,
        trail,
        announce=announcer.announce,
        beside=undelivered.run,
    )
    watch(registry, replica)
    for name, text, count in (
        ("users", "Users who are online", lambda owner: len(owner.directory.people)),
        ("mailbox_messages", "Messages in mailboxes", lambda owner: len(owner.mailboxes)),
    ):
        gauge(registry, f"realtime_presence_{name}", text, _total(replica, count))
    return PresenceService(replica, announcer)


def _total(replica: Replica, count: Callable[[PresenceOwner], int]) -> Callable[[], int]:
    return lambda: sum(map(count, replica.owners(PresenceOwner)))
