"""``realtime cluster``: who is in the cluster, live."""

import asyncio
import time

import click
from ulid import ULID

from shared.broker import topology
from shared.broker.ports import Arrived, raise_when_lost
from shared.broker.rabbitmq import RabbitMQBroker
from shared.errors import BrokerUnavailable
from shared.messages import codec
from shared.overview import Overview
from shared.settings import load
from standalone.table import cluster_table

FIRST_LOOK_SECONDS = 2.5
"""Everybody speaks once a second, and a rate needs two words."""


@click.command()
@click.option("--once", is_flag=True, help="Print one table and stop.")
@click.option("--amqp-url", envvar="REALTIME_AMQP_URL", help="The cluster's RabbitMQ.")
def cluster(once: bool, amqp_url: str | None) -> None:
    """Show the cluster's processes: connections, partitions, rates."""
    url = amqp_url or load(mode="development").amqp_url
    try:
        asyncio.run(_watch(url, once=once))
    except BrokerUnavailable as error:
        raise click.ClickException(f"RabbitMQ cannot be reached: {error}") from error
    except KeyboardInterrupt:
        click.echo()


async def _watch(url: str, *, once: bool) -> None:
    connection = await RabbitMQBroker(url).connect("realtime cluster")
    try:
        channel = await connection.channel(prefetch=1000)
        heard: asyncio.Queue[Arrived] = asyncio.Queue()
        queue = topology.news(f"operator.{ULID()}", topology.FROM_GATEWAYS, topology.FROM_SERVICES)
        await channel.declare(queue)
        await channel.consume(queue.name, heard.put_nowait)
        overview = Overview()

        async def listen() -> None:
            while True:
                arrived = await heard.get()
                overview.hear(codec.decode(arrived.body, codec.NEWS), time.monotonic())
                await channel.acknowledge(arrived)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(raise_when_lost(channel)), group.create_task(listen())]
            await asyncio.sleep(FIRST_LOOK_SECONDS)
            while not once:
                click.clear()
                _show(overview)
                await asyncio.sleep(1)
            _show(overview)
            for task in tasks:
                task.cancel()
    except* BrokerUnavailable as errors:
        raise BrokerUnavailable(str(errors.exceptions[0])) from errors
    finally:
        await connection.close()


def _show(overview: Overview) -> None:
    now = time.monotonic()
    click.echo(cluster_table(overview.processes(now), now))
