"""F11: three RabbitMQ nodes, parted. What is acknowledged stays, and nobody is left in silence."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.broker_cluster import NODES, PrivateBrokerCluster
from tests.chaos.cast import Load
from tests.chaos.history import Failed, FaultBegan, FaultEnded, History, Welcomed
from tests.chaos.report import markdown
from tests.chaos.scenario import Plan, run
from tests.chaos.shapes import Shape, halves, one_alone, random_halves, ring
from tests.chaos.world import World
from tests.support.cluster import eventually
from tests.support.rabbitmq import can_run_privately

pytestmark = [pytest.mark.rabbitmq, pytest.mark.bars]

NOTICED_SECONDS = 20.0
"""Nodes notice after a quarter more than a tick; a loaded machine adds to it."""

SEED = 3
"""By its chance some who publish are connected to the gateway that is parted."""

PLAN = Plan(SEED, 1, ("partition halves",), NODES, load=Load(rate=4))


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[PrivateBrokerCluster]:
    assert can_run_privately()
    with PrivateBrokerCluster() as cluster:
        yield cluster


@pytest.mark.parametrize("shape", [halves, random_halves, ring, one_alone])
async def test_what_is_cut_is_seen_by_the_nodes_and_stops_some_until_it_heals(
    rabbitmq: PrivateBrokerCluster, shape: Shape
) -> None:
    rng = random.Random(SEED)  # noqa: S311 - to be repeated
    cut = shape([node.name for node in rabbitmq.nodes], rng)
    rabbitmq.network.partition(cut)
    try:
        await eventually(
            lambda: rabbitmq.seen_cut() == cut and len(rabbitmq.serving()) < NODES,
            NOTICED_SECONDS,
            "the nodes see the partition, and a minority does not serve",
        )
    finally:
        rabbitmq.network.heal()
    await asyncio.to_thread(rabbitmq.wait_until_whole)


async def test_nothing_is_lost_and_the_minority_says_so_while_one_node_is_parted_from_two(
    rabbitmq: PrivateBrokerCluster, tmp_path: Path
) -> None:
    outcome = await run(PLAN, rabbitmq, tmp_path, print)
    print(outcome.verdict, markdown(outcome), sep="\n\n")  # noqa: T201 - for whom it may concern
    assert outcome.good, outcome.verdict
    world = World(rabbitmq, tmp_path)
    parted = {node for node, home in world.home.items() if home == next(iter(world.brokers))}
    assert refusals(outcome.history, parted)
    assert len(outcome.verdict.figures.recoveries) == 1


def refusals(history: History, nodes: set[str]) -> list[Failed]:
    """Return the answers 503 that these gateways gave while a fault was on."""
    [began] = [one.at for one in history.events if isinstance(one, FaultBegan)]
    [ended] = [one.at for one in history.events if isinstance(one, FaultEnded)]
    homes = {one.connection: one.node for one in history.events if isinstance(one, Welcomed)}
    return [
        one
        for one in history.events
        if isinstance(one, Failed)
        and one.code == 503
        and began < one.at < ended
        and homes[one.connection] in nodes
    ]
