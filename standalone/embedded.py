"""All three services in one process, over a broker in its memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

import gateway.inspection
import presence_service.inspection
import router.inspection
from extensions.app import make_worker
from gateway.app import admin_pages, listening, make_node, run_node
from presence_service.app import make_presence
from router.app import make_router
from shared.broker.memory import MemoryBroker
from shared.process.monitor import Inspections
from shared.process.run import Service, background
from shared.settings import Settings
from shared.trail import Trail


@asynccontextmanager
async def serve(
    settings: Settings, registry: CollectorRegistry, trail: Trail
) -> AsyncIterator[Service]:
    """Start everything; ready when the gateway is a member of its one-process cluster."""
    broker = MemoryBroker()
    routing = make_router(settings, broker, registry, trail)
    presence = make_presence(settings, broker, registry, trail)
    node = make_node(settings, broker, registry, trail)
    worker = make_worker(settings, broker, registry)

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(routing.run())
            group.create_task(presence.run())
            group.create_task(run_node(node))
            group.create_task(worker.run())

    async with background(run()) as running, listening(node) as clients:
        yield Service(
            lambda: routing.ready and presence.ready and node.ready and worker.ready,
            running,
            broker,
            pages=admin_pages(node),
            inspections={
                **_named("gateway", gateway.inspection.inspections(node)),
                **_named("router", router.inspection.inspections(routing)),
                **_named("presence", presence_service.inspection.inspections(presence.replica)),
            },
            drain=lambda: clients.drain.run(settings.drain_seconds),
        )


def _named(service: str, inspections: Inspections) -> Inspections:
    """Tell services apart that share a process."""
    return {f"{service}-{name}": one for name, one in inspections.items()}
