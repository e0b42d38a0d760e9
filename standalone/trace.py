"""``realtime trace``: what became of a message, from the memory of all processes."""

import asyncio
import json
from contextlib import suppress

import click
import msgspec
from ulid import ULID

from shared.broker import topology
from shared.broker.ports import Arrived, Channel
from shared.broker.rabbitmq import RabbitMQBroker
from shared.errors import BrokerUnavailable
from shared.messages import codec
from shared.messages.answers import TrailTold
from shared.messages.news import TrailAsked
from shared.settings import load
from standalone.table import in_order, trail_table

ANSWER_SECONDS = 1.5
"""For all processes to answer; nobody knows how many there are."""


@click.command()
@click.argument("message_id")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@click.option("--amqp-url", envvar="REALTIME_AMQP_URL", help="The cluster's RabbitMQ.")
def trace(message_id: str, as_json: bool, amqp_url: str | None) -> None:
    """Show the path of a message: MESSAGE_ID is the id that the server gave it."""
    url = amqp_url or load(mode="development").amqp_url
    try:
        told = asyncio.run(_ask(url, message_id))
    except BrokerUnavailable as error:
        raise click.ClickException(f"RabbitMQ cannot be reached: {error}") from error
    if not any(one.steps for one in told):
        raise click.ClickException(
            f"None of the {len(told)} processes that answered remembers {message_id}. "
            "It is of another cluster, or too old, or they have been started since."
        )
    if as_json:
        steps = [
            {"service": one.service, "node": one.node_id, **msgspec.structs.asdict(step)}
            for step, one in in_order(told)
        ]
        click.echo(json.dumps(steps))
    else:
        click.echo(trail_table(told))


async def _ask(url: str, message_id: str) -> list[TrailTold]:
    """Ask all processes about a message; return what they have answered in time.

    Raises:
        BrokerUnavailable: they cannot be asked.
    """
    connection = await RabbitMQBroker(url).connect("trace")
    try:
        channel = await connection.channel()
        queue = topology.news(f"trace.{ULID()}")
        await channel.declare(queue)
        arrivals: asyncio.Queue[Arrived] = asyncio.Queue()
        await channel.consume(queue.name, arrivals.put_nowait)
        asked = codec.encode(TrailAsked(message_id, queue.name))
        await channel.publish(asked, topology.fanout_address(topology.QUESTIONS))
        return await _answers(channel, arrivals)
    finally:
        await connection.close()


async def _answers(channel: Channel, arrivals: "asyncio.Queue[Arrived]") -> list[TrailTold]:
    told: list[TrailTold] = []
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                arrived = await arrivals.get()
                with suppress(codec.Undecodable):  # of another release, perhaps
                    answers = codec.decode(arrived.body, codec.ANSWERS)
                    told += (one for one in answers if isinstance(one, TrailTold))
                await channel.acknowledge(arrived)
    except TimeoutError:
        return told
