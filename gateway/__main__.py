"""``python -m gateway``: one gateway over RabbitMQ."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from gateway.app import listening, make_node, run_node
from shared.broker.rabbitmq import RabbitMQBroker
from shared.process.run import Ready, run
from shared.settings import Settings


@asynccontextmanager
async def serve(
    settings: Settings, registry: CollectorRegistry
) -> AsyncIterator[tuple[Ready, Awaitable[None]]]:
    """Start the gateway."""
    node = make_node(settings, RabbitMQBroker(settings.amqp_url), registry)
    async with listening(node):
        yield (lambda: node.membership.ready), run_node(node)


if __name__ == "__main__":
    run(serve)
