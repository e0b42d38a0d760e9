"""``python -m router``: one router replica over RabbitMQ."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from router.app import make_router
from shared.broker.rabbitmq import RabbitMQBroker
from shared.process.run import Ready, run
from shared.settings import Settings


@asynccontextmanager
async def serve(
    settings: Settings, registry: CollectorRegistry
) -> AsyncIterator[tuple[Ready, Awaitable[None]]]:
    """Start the router."""
    replica = make_router(settings, RabbitMQBroker(settings.amqp_url), registry)
    yield (lambda: replica.ready), replica.run()


if __name__ == "__main__":
    run(serve)
