"""Wires the worker of an operator's own handlers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from extensions.handlers import load
from extensions.worker import Worker
from shared.broker.ports import Broker
from shared.broker.rabbitmq import RabbitMQBroker
from shared.process.run import Service, background
from shared.settings import Settings, WrongSettings
from shared.trail import Trail


def make_worker(settings: Settings, broker: Broker, registry: CollectorRegistry) -> Worker:
    """Return a worker that is ready to run, for the handlers of ``REALTIME_EXTENSIONS``.

    Raises:
        WrongSettings: they cannot be had.
    """
    return Worker(broker, settings.node_id, load(settings.extensions), registry)


@asynccontextmanager
async def serve(
    settings: Settings, registry: CollectorRegistry, _: Trail
) -> AsyncIterator[Service]:
    """Start the worker, over RabbitMQ; at the end it finishes what is in hand.

    Raises:
        WrongSettings: there are no handlers.
    """
    if not settings.extensions:
        raise WrongSettings("REALTIME_EXTENSIONS: name a module with handlers")
    broker = RabbitMQBroker(settings.amqp_url)
    worker = make_worker(settings, broker, registry)
    async with background(worker.run()) as running:
        try:
            yield Service(lambda: worker.ready, running, broker)
        finally:
            await worker.finish()
