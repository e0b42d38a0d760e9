"""People who talk without pause while something happens to the cluster."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from realtime_client import Client, CommandFailed
from standalone.local_cluster import LocalCluster
from tests.support.cluster import Hearing, clients, eventually, url_of

UNAVAILABLE = 503
ANSWER_SECONDS = 5.0
SLACK_SECONDS = 2.0
"""What a busy machine may add to the client's own measurement of an answer."""

RESUME_SECONDS = 15.0

Say = Callable[[int], Awaitable[Any]]


class Talk:
    """Commands sent without pause; each is answered with its result or a 503, in time."""

    def __init__(self, say: Say) -> None:
        self.slowest = 0.0
        self.results: list[tuple[float, Any]] = []
        self._say = say
        self._stopping = False
        self._task = asyncio.create_task(self._talk())

    async def _talk(self) -> None:
        number = 0
        while not self._stopping:
            number += 1
            began = time.monotonic()
            try:
                result = await self._say(number)
            except CommandFailed as error:
                if error.code != UNAVAILABLE:
                    raise
                result = None
                await asyncio.sleep(0.02)
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.results.append((time.monotonic(), result))

    async def resumed(self, since: float) -> float:
        """Wait for 20 good answers in a row after a moment; return how long they took to come."""

        def good() -> bool:
            last = [result for at, result in self.results[-20:] if at > since]
            return len(last) == 20 and all(last)

        return await eventually(good, RESUME_SECONDS + SLACK_SECONDS, "service resumes")

    async def stop(self) -> None:
        """End the talk, and fail if a command was answered wrongly or too late."""
        self._stopping = True
        await self._task
        assert self.slowest < ANSWER_SECONDS + SLACK_SECONDS


async def talk_while(
    cluster: LocalCluster, trouble: Callable[[], Awaitable[None]]
) -> tuple[list[Client], Hearing]:
    """Broadcast and send direct messages across two gateways while trouble strikes."""
    places = [(url_of(cluster, 0), "speaker"), (url_of(cluster, 1), "listener")]
    async with clients(*places) as (speaker, listener):
        await listener.subscribe("kill.topic")
        hearing = Hearing(listener)

        async def broadcast(number: int) -> bool:
            ack = await speaker.broadcast("kill.topic", number)
            return bool(ack["recipients"] == 1)

        async def message(number: int) -> bool:
            ack = await speaker.direct_message("listener", number)
            return bool(ack["status"] == "delivered")

        talks = [Talk(broadcast), Talk(message)]
        await asyncio.gather(*(talk.resumed(0) for talk in talks))
        since = time.monotonic()
        await trouble()
        await asyncio.gather(*(talk.resumed(since) for talk in talks))
        await asyncio.gather(*(talk.stop() for talk in talks))
        assert (await speaker.ping(1))["timestamp"] == 1
        assert (await listener.ping(2))["timestamp"] == 2
        for kind in ("Broadcast", "DirectMessage"):
            payloads = hearing.payloads(kind)
            assert len(payloads) == len(set(payloads)), f"{kind} doubled"
            assert payloads == sorted(payloads), f"{kind} out of order"
        hearing.stop()
        return [speaker, listener], hearing
