"""Clients and clusters for the tests."""

import asyncio
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from realtime_client import Client, connect
from standalone.local_cluster import LocalCluster, Service
from standalone.tokens import development_token

PORTS = range(10_000, 20_000)


def free_ports(count: int) -> list[int]:
    """Return ports on loopback that nothing uses, below those of outgoing connections."""
    found: list[int] = []
    while len(found) < count:
        port = secrets.choice(PORTS)
        with socket.socket() as probe:
            if port not in found and probe.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
    return found


def make_cluster(amqp_url: str, logs: Path, *, gateways: int = 2, **settings: str) -> LocalCluster:
    """Return a cluster with so many gateways, not started yet."""
    settings.setdefault("REALTIME_LOG_LEVEL", "debug")
    return LocalCluster(amqp_url, logs, gateway_ports=free_ports(gateways), settings=settings)


def url_of(cluster: LocalCluster, gateway: int) -> str:
    """Return the address of one gateway, counted from 0."""
    return f"ws://localhost:{list(cluster.gateway_ports)[gateway]}/ws"


@asynccontextmanager
async def clients(*places: tuple[str, str]) -> AsyncIterator[list[Client]]:
    """Connect (url, user) pairs and close them in the end."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(await connect(url, development_token(user)))
            for url, user in places
        ]


PARTITIONS = {
    "router": "realtime_router_partitions",
    "presence_service": "realtime_presence_partitions",
}
"""The metric that counts a replica's partitions."""


def partitions(service: Service) -> float:
    """Return how many partitions a replica serves."""
    return metric(service.ask("/metrics"), PARTITIONS[service.module])


async def balanced(cluster: LocalCluster, module: str, seconds: float = 20) -> float:
    """Wait until every replica serves its share; return after how many seconds."""
    running = [one for one in cluster.of(module) if one.running]
    most = -(-16 // len(running))

    def shared() -> bool:
        held = [partitions(one) for one in running]
        return sum(held) == 16 and max(held) <= most

    return await eventually(shared, seconds, f"{module}: every replica has its share")


class Hearing:
    """All that a client is told, from now on, in the order in which it came."""

    def __init__(self, client: Client) -> None:
        self.heard: list[dict[str, Any]] = []
        self._news = asyncio.Condition()
        self._task = asyncio.create_task(self._listen(client))

    async def _listen(self, client: Client) -> None:
        async for message in client.messages():
            async with self._news:
                self.heard.append(message)
                self._news.notify_all()

    async def until(
        self, fits: Callable[[dict[str, Any]], bool], seconds: float = 20
    ) -> dict[str, Any]:
        """Wait for the first message that fits, heard already or not."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(lambda: any(fits(one) for one in self.heard))
            return next(one for one in self.heard if fits(one))

    def payloads(self, kind: str = "Broadcast") -> list[Any]:
        """Return the payloads of all messages of a type."""
        return [one["data"]["payload"] for one in self.heard if one["type"] == kind]

    def stop(self) -> None:
        """Listen no more."""
        self._task.cancel()


def metric(text: str | None, name: str) -> float:
    """Return the sum of a metric's samples; ``name`` may hold labels."""
    lines = (text or "").splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


async def eventually(holds: Callable[[], bool], seconds: float, what: str) -> float:
    """Poll what no event tells, until it holds; return after how many seconds."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.05)
    return time.monotonic() - began


def compact(value: Any) -> str:
    """Return JSON without blanks."""
    return json.dumps(value, separators=(",", ":"))
