"""``python -m gateway``: one gateway over RabbitMQ."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from gateway.app import listening, make_node, run_node
from shared.broker.rabbitmq import RabbitMQBroker
from shared.process.run import Ready, background, run
from shared.settings import Settings


@asynccontextmanager
async def serve(
    settings: Settings, registry: CollectorRegistry
) -> AsyncIterator[tuple[Ready, "asyncio.Future[None]"]]:
    """Start the gateway."""
    node = make_node(settings, RabbitMQBroker(settings.amqp_url), registry)
    async with background(run_node(node)) as running, listening(node):
        yield (lambda: node.membership.ready), running


if __name__ == "__main__":
    run(serve)
