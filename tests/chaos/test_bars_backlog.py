"""F24: a gateway that stands still holds nobody else up, and fills the broker only so far."""

import asyncio
import signal
import time

import pytest

from realtime_client import Client
from shared.broker.topology import INBOX_LIMIT
from standalone.local_cluster import LocalCluster
from tests.chaos.bars import depths, pids, say, urls
from tests.support.broker import Troubled
from tests.support.cluster import Hearing, clients, eventually

pytestmark = [pytest.mark.rabbitmq, pytest.mark.bars]

STILL_SECONDS = 15.0
TOPIC = "f24.news"


async def speak(speaker: Client, until: float) -> list[float]:
    """Broadcast one after the other; return how long each took."""
    took = []
    while time.monotonic() < until:
        began = time.monotonic()
        await speaker.broadcast(TOPIC, len(took))
        took.append(time.monotonic() - began)
        await asyncio.sleep(0.01)
    return sorted(took)


async def deepest(rabbitmq: Troubled, until: float) -> int:
    """Return the most that has waited in an inbox."""
    most = 0
    while time.monotonic() < until:
        waiting = await asyncio.to_thread(depths, rabbitmq)
        most = max(most, *(many for name, many in waiting.items() if name.startswith("inbox.")))
        await asyncio.sleep(0.5)
    return most


async def test_a_gateway_that_stands_still_holds_up_nobody_on_the_others(
    cluster: LocalCluster, rabbitmq: Troubled, scale: int
) -> None:
    before, still = pids(cluster), cluster.of("gateway")[0]
    here, there = urls(cluster)
    seconds = STILL_SECONDS * min(scale, 4)
    async with clients((here, "stuck"), (there, "speaker"), (there, "listener")) as people:
        stuck, speaker, listener = people
        await stuck.subscribe(TOPIC)
        await listener.subscribe(TOPIC)
        hearing = Hearing(listener)

        still.signal(signal.SIGSTOP)
        try:
            until = time.monotonic() + seconds
            took, inbox = await asyncio.gather(speak(speaker, until), deepest(rabbitmq, until))
        finally:
            still.signal(signal.SIGCONT)
        await eventually(
            lambda: len(hearing.payloads()) == len(took), 20, "all has come to the others"
        )
        await eventually(lambda: all(one.ready for one in cluster.services), 60, "all are ready")
        assert (await speaker.broadcast(TOPIC, "after"))["status"] in {"delivered", "partial"}
        heard = hearing.payloads()[: len(took)]
        hearing.stop()
    say("F24", said=len(took), inbox=inbox, p99=f"{took[len(took) * 99 // 100]:.2f} s")
    assert heard == list(range(len(took)))
    assert inbox <= INBOX_LIMIT
    assert took[-1] < 5  # the deadline of every command
    assert pids(cluster) == before
