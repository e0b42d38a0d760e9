"""Replicas come and go; their partitions move, and nobody who talks notices."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from standalone.local_cluster import LocalCluster
from tests.support.broker import Troubled
from tests.support.cluster import balanced, eventually, make_cluster, partitions
from tests.support.talk import talk_while

pytestmark = pytest.mark.rabbitmq

SHARE_SECONDS = 5.0
SLACK_SECONDS = 5.0
"""What a busy machine may add: the new process shares two cores with all the others."""


@pytest.fixture
def small(rabbitmq: Troubled, tmp_path: Path) -> Iterator[LocalCluster]:
    """Two gateways, one router, one presence service."""
    rabbitmq.ctl("add_vhost", tmp_path.name)
    rabbitmq.ctl("set_permissions", "-p", tmp_path.name, "guest", ".*", ".*", ".*")
    cluster = make_cluster(f"{rabbitmq.url}{tmp_path.name}", tmp_path)
    cluster.routers = cluster.presence = 1
    with cluster as running:
        yield running


@pytest.mark.parametrize("module", ["router", "presence_service"])
async def test_a_second_and_a_third_replica_take_their_share_and_a_killed_one_leaves_it(
    small: LocalCluster, module: str
) -> None:
    async def come_and_go() -> None:
        for number in (2, 3):
            added = small.add(module, f"{module}-{number}")
            await eventually(lambda one=added: one.ready, 30, "the new replica is ready")
            assert await balanced(small, module) < SHARE_SECONDS + SLACK_SECONDS
        added.kill()
        await balanced(small, module)

    await talk_while(small, come_and_go)


@pytest.mark.parametrize("module", ["router", "presence_service"])
async def test_a_paused_owner_loses_its_partitions_and_says_nothing_when_it_wakes(
    small: LocalCluster, module: str
) -> None:
    [owner] = small.of(module)
    heir = small.add(module, f"{module}-2")
    await asyncio.to_thread(small.wait_ready)
    await balanced(small, module)

    async def pause_and_wake() -> None:
        owner.signal(signal.SIGSTOP)
        try:
            await eventually(lambda: partitions(heir) == 16, 60, "the heir has taken over")
        finally:
            owner.signal(signal.SIGCONT)
        await balanced(small, module, 30)

    await talk_while(small, pause_and_wake)
