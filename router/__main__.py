"""``python -m router``: one router replica over RabbitMQ."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from router.app import make_router
from router.inspection import inspections
from shared.broker.rabbitmq import RabbitMQBroker
from shared.process.run import Service, background, run
from shared.settings import Settings
from shared.trail import Trail


@asynccontextmanager
async def serve(
    settings: Settings, registry: CollectorRegistry, trail: Trail
) -> AsyncIterator[Service]:
    """Start the router."""
    broker = RabbitMQBroker(settings.amqp_url)
    replica = make_router(settings, broker, registry, trail)
    async with background(replica.run()) as running:
        yield Service(lambda: replica.ready, running, broker, inspections=inspections(replica))


if __name__ == "__main__":
    run("router", serve)
