"""All three services in one process, over a broker in its memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from extensions.app import make_worker
from gateway.app import admin_pages, listening, make_node, run_node
from presence_service.app import make_presence
from router.app import make_router
from shared.broker.memory import MemoryBroker
from shared.process.run import Service, background
from shared.settings import Settings


@asynccontextmanager
async def serve(settings: Settings, registry: CollectorRegistry) -> AsyncIterator[Service]:
    """Start everything; ready when the gateway is a member of its one-process cluster."""
    broker = MemoryBroker()
    router = make_router(settings, broker, registry)
    presence = make_presence(settings, broker, registry)
    node = make_node(settings, broker, registry)
    worker = make_worker(settings, broker, registry)

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(router.run())
            group.create_task(presence.run())
            group.create_task(run_node(node))
            group.create_task(worker.run())

    async with background(run()) as running, listening(node) as clients:
        yield Service(
            lambda: router.ready and presence.ready and node.membership.ready and worker.ready,
            running,
            admin_pages(node),
            lambda: clients.drain.run(settings.drain_seconds),
        )
