"""``python -m presence_service``: one presence replica over RabbitMQ."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from presence_service.app import make_presence
from shared.broker.rabbitmq import RabbitMQBroker
from shared.process.run import Ready, run
from shared.settings import Settings


@asynccontextmanager
async def serve(
    settings: Settings, registry: CollectorRegistry
) -> AsyncIterator[tuple[Ready, Awaitable[None]]]:
    """Start the presence service."""
    service = make_presence(settings, RabbitMQBroker(settings.amqp_url), registry)
    yield (lambda: service.ready), service.run()


if __name__ == "__main__":
    run(serve)
