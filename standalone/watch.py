"""``realtime cluster``: who is in the cluster, live."""

import asyncio
import time

import click

from shared.broker.listening import listen
from shared.broker.rabbitmq import RabbitMQBroker
from shared.errors import BrokerUnavailable
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
    broker, overview = RabbitMQBroker(url), Overview()
    if once:
        await listen(broker, overview, FIRST_LOOK_SECONDS)
        _show(overview)
        return
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(listen(broker, overview))
            await asyncio.sleep(FIRST_LOOK_SECONDS)
            while True:
                click.clear()
                _show(overview)
                await asyncio.sleep(1)
    except* BrokerUnavailable as errors:
        raise BrokerUnavailable(str(errors.exceptions[0])) from errors


def _show(overview: Overview) -> None:
    now = time.monotonic()
    click.echo(cluster_table(overview.processes(now), now))
