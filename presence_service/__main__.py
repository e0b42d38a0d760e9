"""``python -m presence_service``: one presence replica over RabbitMQ."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from presence_service.app import make_presence
from presence_service.inspection import inspections
from shared.broker.rabbitmq import RabbitMQBroker
from shared.process.run import Service, background, run
from shared.settings import Settings
from shared.trail import Trail


@asynccontextmanager
async def serve(
    settings: Settings, registry: CollectorRegistry, trail: Trail
) -> AsyncIterator[Service]:
    """Start the presence service."""
    broker = RabbitMQBroker(settings.amqp_url)
    service = make_presence(settings, broker, registry, trail)
    async with background(service.run()) as running:
        yield Service(
            lambda: service.ready, running, broker, inspections=inspections(service.replica)
        )


if __name__ == "__main__":
    run("presence", serve)
