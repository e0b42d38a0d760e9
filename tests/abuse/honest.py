"""Two hundred clients who talk in groups, and how long what they say takes."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from standalone.tokens import development_token

GROUPS, MEMBERS = 20, 10
APART_SECONDS = 0.25
"""Between what is said in one group."""


@dataclass
class Honest:
    """The clients, and the delays of all that they were given: when it came, and how late."""

    delays: list[tuple[float, float]] = field(default_factory=list)
    said: int = 0
    troubles: list[Any] = field(default_factory=list)
    """What they were told, beside what others said."""

    def p99(self, spans: list[tuple[float, float]]) -> float:
        """Return the 99th percentile of what came within some spans of time, in seconds."""
        within = sorted(
            delay for at, delay in self.delays if any(begin <= at < end for begin, end in spans)
        )
        return within[int(len(within) * 0.99)]

    async def hear(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Note what comes, to the end."""
        async for message in socket:
            now, heard = time.monotonic(), json.loads(message.data)
            if heard["type"] == "Broadcast":
                self.delays.append((now, now - heard["data"]["payload"]))
            elif heard["type"] == "Error":
                self.troubles.append(heard)
        self.troubles.append(f"closed {socket.close_code}")

    async def speak(self, socket: aiohttp.ClientWebSocketResponse, group: int) -> None:
        """Say something again and again."""
        await asyncio.sleep(APART_SECONDS * group / GROUPS)
        while True:
            data = {"topic": f"honest.{group}", "payload": time.monotonic()}
            await socket.send_json({"type": "Broadcast", "data": data})
            self.said += 1
            await asyncio.sleep(APART_SECONDS)


@asynccontextmanager
async def honest_clients(url: str) -> AsyncIterator[Honest]:
    """Connect them, each group from an address of its own, and let them talk."""
    honest = Honest()
    async with AsyncExitStack() as stack:
        tasks = []
        stack.callback(lambda: [task.cancel() for task in tasks])
        for group in range(GROUPS):
            connector = aiohttp.TCPConnector(local_addr=(f"127.0.1.{group + 1}", 0), limit=0)
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            for member in range(MEMBERS):
                token = development_token(f"honest{group}-{member}")
                socket = await session.ws_connect(f"{url}?token={token}")
                message = {"type": "Subscribe", "data": {"topics": [f"honest.{group}"]}}
                await socket.send_json(message)
                tasks.append(asyncio.create_task(honest.hear(socket)))
                if not member:
                    tasks.append(asyncio.create_task(honest.speak(socket, group)))
        yield honest
