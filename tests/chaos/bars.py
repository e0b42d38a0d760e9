"""What the tests of single bars share: sockets as raw as they come, queues, memory."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from standalone.local_cluster import LocalCluster, Service
from standalone.tokens import development_token
from tests.chaos.stuck import KEPT
from tests.support.broker import Troubled
from tests.support.cluster import metric, url_of

WELCOME_SECONDS = 10.0
SLACK_SECONDS = 10.0
"""What a busy machine may add to a limit."""

Message = dict[str, Any]


class NotWelcome(Exception):
    """The gateway is not there, or did not let us in."""


@dataclass(eq=False)
class Socket:
    """One WebSocket without a client around it."""

    user: str
    wire: aiohttp.ClientWebSocketResponse
    connection_id: str
    heard: list[Message] = field(default_factory=list)
    _reading: "asyncio.Task[None] | None" = None

    @property
    def is_open(self) -> bool:
        """Whether nobody has closed it; it must be listened to."""
        return self._reading is not None and not self._reading.done()

    def listen(self) -> None:
        """Keep what is heard, and notice the end."""
        self._reading = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for frame in self.wire:
            if frame.type is aiohttp.WSMsgType.TEXT:
                self.heard.append(json.loads(frame.data))

    async def send(self, kind: str, data: Message, **more: Any) -> None:
        """Write one message."""
        await self.wire.send_str(json.dumps({"type": kind, "data": data, **more}))

    async def close(self) -> None:
        """Say goodbye."""
        await self.wire.close()
        if self._reading is not None:
            await self._reading

    def abort(self) -> None:
        """Vanish, as a client does that loses its network."""
        if self._reading is not None:
            self._reading.cancel()
        connection = self.wire._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()


@asynccontextmanager
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a session without limits."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


async def open_socket(
    session: aiohttp.ClientSession, url: str, user: str, *, acks: bool = False
) -> Socket:
    """Connect and wait for the Welcome.

    Raises:
        NotWelcome: it did not come.
    """
    try:
        async with asyncio.timeout(WELCOME_SECONDS):
            wire = await session.ws_connect(
                url,
                params={"acks": "1"} if acks else {},
                headers={"Authorization": f"Bearer {development_token(user)}"},
            )
            welcome = (await wire.receive_json())["data"]
    except (TimeoutError, OSError, aiohttp.ClientError, TypeError) as error:
        raise NotWelcome(url) from error
    if welcome.get("status") != "connected":
        await wire.close()
        raise NotWelcome(f"{url}: {welcome}")
    return Socket(user, wire, welcome["details"]["connection_id"])


async def close_all(sockets: Collection[Socket]) -> None:
    """Close them all; it is no matter which are closed already."""
    with suppress(OSError, aiohttp.ClientError):
        await asyncio.gather(*(one.close() for one in sockets))


def urls(cluster: LocalCluster) -> list[str]:
    """Return where the gateways are."""
    return [url_of(cluster, number) for number in range(len(cluster.of("gateway")))]


def resident(services: Collection[Service]) -> int:
    """Return how many bytes of memory these processes hold."""
    pages = [int(Path(f"/proc/{one.pid}/statm").read_text().split()[1]) for one in services]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")


def open_files(service: Service) -> int:
    """Return how many files and sockets a process holds."""
    return len(list((Path("/proc") / str(service.pid) / "fd").iterdir()))


def total(services: Collection[Service], name: str) -> float:
    """Return the sum of a metric over those that run."""
    return sum(metric(one.ask("/metrics"), name) for one in services if one.running)


def pids(cluster: LocalCluster) -> dict[str, int]:
    """Return the process ids by node."""
    return {one.node_id: one.pid for one in cluster.services if one.running}


def depths(rabbitmq: Troubled) -> dict[str, int]:
    """Return how many messages each queue holds."""
    told = rabbitmq.ctl("list_queues", "--no-table-headers", "name", "messages")
    rows = (line.rsplit("\t", 1) for line in told.splitlines() if "\t" in line)
    return {name: int(messages) for name, messages in rows}


async def nothing_waits(rabbitmq: Troubled, seconds: float = 60) -> None:
    """Wait until no queue holds anything for longer than a moment, but for those that keep."""
    waiting: set[str] = set()

    async def look() -> set[str]:
        now = await asyncio.to_thread(depths, rabbitmq)
        return {name for name, many in now.items() if many and not any(k in name for k in KEPT)}

    async with asyncio.timeout(seconds):
        # Leases and heartbeats pass all the time: only what is seen twice waits.
        while waiting := (waiting or await look()) & await look():  # noqa: ASYNC110
            await asyncio.sleep(0.2)


def say(bar: str, **figures: object) -> None:
    """Print figures, for whoever runs pytest with ``-s``."""
    told = ", ".join(f"{name} {value}" for name, value in figures.items())
    print(f"\n{bar}: {told}")  # noqa: T201 - for whom it may concern
