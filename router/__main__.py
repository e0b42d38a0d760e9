"""``python -m router``: one router replica over RabbitMQ."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from router.app import make_router
from shared.broker.rabbitmq import RabbitMQBroker
from shared.process.run import Ready, background, run
from shared.settings import Settings


@asynccontextmanager
async def serve(
    settings: Settings, registry: CollectorRegistry
) -> AsyncIterator[tuple[Ready, "asyncio.Future[None]"]]:
    """Start the router."""
    replica = make_router(settings, RabbitMQBroker(settings.amqp_url), registry)
    async with background(replica.run()) as running:
        yield (lambda: replica.ready), running


if __name__ == "__main__":
    run(serve)
