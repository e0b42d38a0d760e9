"""``python -m gateway``: one gateway over RabbitMQ."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from gateway.app import admin_pages, listening, make_node, run_node
from gateway.inspection import inspections
from shared.broker.rabbitmq import RabbitMQBroker
from shared.process.run import Service, background, run
from shared.settings import Settings
from shared.trail import Trail


@asynccontextmanager
async def serve(
    settings: Settings, registry: CollectorRegistry, trail: Trail
) -> AsyncIterator[Service]:
    """Start the gateway."""
    broker = RabbitMQBroker(settings.amqp_url)
    node = make_node(settings, broker, registry, trail)
    async with background(run_node(node)) as running, listening(node) as clients:
        yield Service(
            lambda: node.ready,
            running,
            broker,
            pages=admin_pages(node),
            inspections=inspections(node),
            drain=lambda: clients.drain.run(settings.drain_seconds),
        )


if __name__ == "__main__":
    run("gateway", serve, for_clients=True)
