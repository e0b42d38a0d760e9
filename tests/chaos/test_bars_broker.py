"""F10: a RabbitMQ that was restarted is used again. F12: one short of memory fills no process."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from realtime_client import Client, CommandFailed
from standalone.local_cluster import LocalCluster
from tests.chaos.bars import nothing_waits, resident, say, urls
from tests.support.broker import Troubled
from tests.support.cluster import Hearing, balanced, clients, eventually

pytestmark = [pytest.mark.rabbitmq, pytest.mark.bars]

COMMAND_QUEUES = tuple(
    f"{service}.commands.{partition}"
    for service in ("router", "presence")
    for partition in range(16)
)
UNAVAILABLE = 503
ANSWER_SECONDS = 5.0
CONSUMING_SECONDS = 15.0
NORMAL_SECONDS = 5.0
SLACK_SECONDS = 10.0
"""What a busy machine may add to a limit."""

ALARM_SECONDS = 15.0
MEMORY = 50_000_000
SPEAKERS = 8
PAUSE_SECONDS = 0.1


def consumers(rabbitmq: Troubled) -> Counter[str]:
    """Return how many consumers each queue has, those of one boot or process under one name."""
    told = rabbitmq.ctl("list_consumers", "--no-table-headers", "queue_name").split()
    return Counter(
        name if name in COMMAND_QUEUES else name.partition(".")[0]
        for name in told
        if ".log." not in name  # a log is consumed only while it is read
    )


@dataclass
class Speaker:
    """Broadcasts on a topic of their own, and writes, each command again until it succeeds.

    History must hold all that a gateway may miss while RabbitMQ is away: so there are pauses.
    """

    client: Client
    name: str
    commands: int = 0
    refused: int = 0
    patient: bool = True
    """Whether each 503 told when to come back, within 2 s."""

    slowest: float = 0.0
    good_at: float = 0.0
    acked: list[int] = field(default_factory=list)
    stopping: bool = False

    async def speak(self) -> None:
        """Go on until told to stop, and until the last command has succeeded."""
        number = 0
        while not self.stopping:
            number += 1
            await self._insist(partial(self._broadcast, number))
            self.acked.append(number)
            await self._insist(partial(self._write, number))
            self.good_at = time.monotonic()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _broadcast(self, number: int, again: str) -> Any:
        metadata = {"idempotency_key": f"{self.name}-{number}"}
        return await self.client.broadcast(self.name, [self.name, number], metadata, id=again)

    async def _write(self, number: int, again: str) -> Any:
        metadata = {"idempotency_key": f"{self.name}-{number}"}
        return await self.client.direct_message("listener", number, metadata, id=again)

    async def _insist(self, send: Callable[[str], Any]) -> None:
        self.commands += 1
        command_id = f"{self.name}-{self.commands}"
        while True:
            began = time.monotonic()
            try:
                await send(command_id)
            except CommandFailed as error:
                if error.code != UNAVAILABLE:
                    raise
                self.refused += 1
                pause = error.details.get("retry_after_ms", 10_000) / 1000
                self.patient = self.patient and pause <= 2
                await asyncio.sleep(min(pause, 0.2))
            else:
                return
            finally:
                self.slowest = max(self.slowest, time.monotonic() - began)


@asynccontextmanager
async def speaking(cluster: LocalCluster) -> AsyncIterator[list[Speaker]]:
    """Have speakers on both gateways; in the end all that was acknowledged must have come."""
    here, there = urls(cluster)
    talk = secrets.token_hex(4)  # what was said before is another matter, and has other keys
    places = [((here, there)[number % 2], f"{talk}.{number}") for number in range(SPEAKERS)]
    async with clients((there, "listener"), *places) as (listener, *others):
        await listener.subscribe(f"{talk}.*")
        hearing = Hearing(listener)
        speakers = [Speaker(one, one.user_id) for one in others]
        tasks = [asyncio.create_task(one.speak()) for one in speakers]
        await eventually(lambda: all(len(one.acked) > 5 for one in speakers), 20, "all speak")
        yield speakers
        for one in speakers:
            one.stopping = True
        async with asyncio.timeout(60):
            await asyncio.gather(*tasks)
        said = {(one.name, number) for one in speakers for number in one.acked}

        def heard() -> list[tuple[str, int]]:
            return [(name, number) for name, number in hearing.payloads()]

        await eventually(lambda: set(heard()) >= said, 20, "all that was acknowledged has come")
        assert len(heard()) == len(set(heard()))
        hearing.stop()


async def all_good_since(speakers: list[Speaker], moment: float, seconds: float) -> float:
    """Wait until everybody has succeeded in something begun after a moment."""
    return await eventually(
        lambda: all(one.good_at > moment for one in speakers), seconds, "everybody is served"
    )


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_after_a_restart_of_rabbitmq_everybody_consumes_again_and_no_socket_was_closed(
    cluster: LocalCluster, rabbitmq: Troubled, how: str, scale: int
) -> None:
    for module in ("router", "presence_service"):
        await balanced(cluster, module)
    before = await asyncio.to_thread(consumers, rabbitmq)
    assert {before[one] for one in COMMAND_QUEUES} == {2}
    slowest = 0.0
    async with speaking(cluster) as speakers:
        for _ in range(scale):
            if how == "stop":
                await asyncio.to_thread(lambda: rabbitmq.stop(keep_data=True))
            else:
                await asyncio.to_thread(rabbitmq.kill)
            await asyncio.to_thread(rabbitmq.restart)
            began = time.monotonic()
            while (now := await asyncio.to_thread(consumers, rabbitmq)) != before:
                took = time.monotonic() - began
                assert took < CONSUMING_SECONDS + SLACK_SECONDS, now - before or before - now
            slowest = max(slowest, time.monotonic() - began)
            await all_good_since(speakers, time.monotonic(), NORMAL_SECONDS + SLACK_SECONDS)
    say(
        "F10",
        how=how,
        times=scale,
        consuming_after=f"{slowest:.1f} s",
        slowest_answer=f"{max(one.slowest for one in speakers):.1f} s",
        refused=sum(one.refused for one in speakers),
    )
    assert max(one.slowest for one in speakers) < ANSWER_SECONDS + SLACK_SECONDS
    await nothing_waits(rabbitmq)


async def test_a_rabbitmq_short_of_memory_is_answered_for_and_fills_no_process(
    cluster: LocalCluster, rabbitmq: Troubled, scale: int
) -> None:
    async with speaking(cluster) as speakers:
        held = resident(cluster.services)
        refused = sum(one.refused for one in speakers)
        await asyncio.to_thread(rabbitmq.ctl, "set_vm_memory_high_watermark", "0")
        try:
            await asyncio.sleep(ALARM_SECONDS * min(scale, 4))
            grown = resident(cluster.services) - held
            refused = sum(one.refused for one in speakers) - refused
            pings = await asyncio.gather(*(one.client.ping(1) for one in speakers))
        finally:
            await asyncio.to_thread(rabbitmq.ctl, "set_vm_memory_high_watermark", "0.6")
        took = await all_good_since(speakers, time.monotonic(), NORMAL_SECONDS + SLACK_SECONDS)
    say(
        "F12",
        refused=refused,
        slowest_answer=f"{max(one.slowest for one in speakers):.1f} s",
        grown=f"{grown / 1e6:.1f} MB",
        normal_after=f"{took:.1f} s",
    )
    assert refused
    assert len(pings) == SPEAKERS
    assert all(one.patient for one in speakers)
    assert max(one.slowest for one in speakers) < ANSWER_SECONDS + SLACK_SECONDS
    assert grown < MEMORY
    await nothing_waits(rabbitmq)
