"""One WebSocket of a client: raw frames, and which reply belongs to which command."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import aiohttp

Message = dict[str, Any]


@dataclass
class Link:
    """One connection, by the name that its client gave it."""

    name: str
    socket: aiohttp.ClientWebSocketResponse
    waiting: "dict[str, asyncio.Future[Message | None]]" = field(default_factory=dict)
    """Commands whose Ack or Error is awaited, by id."""

    async def send(self, message: Message) -> bool:
        """Write a message; return whether the socket took it."""
        try:
            await self.socket.send_str(json.dumps(message))
        except (ConnectionError, RuntimeError, aiohttp.ClientError):
            return False
        return True

    def expect(self, command_id: str) -> "asyncio.Future[Message | None]":
        """Return where the end of a command will be told; None if the connection ends first."""
        future: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        self.waiting[command_id] = future
        return future

    def take(self, message: Message) -> None:
        """Hand an Ack or Error to whoever waits for it. A 404 ``queued`` is no end (A2)."""
        details = message["data"].get("details") or {}
        if message["type"] == "Error" and details.get("queued"):
            return
        future = self.waiting.pop(str(message.get("id")), None)
        if future is not None and not future.done():
            future.set_result(message)

    def ended(self) -> None:
        """Nothing more will come."""
        for future in self.waiting.values():
            if not future.done():
                future.set_result(None)
        self.waiting.clear()


def retry_after(message: Message) -> float:
    """Return how many seconds an Error 503 wants to be left alone."""
    details = message["data"].get("details") or {}
    return float(details.get("retry_after_ms", 1000)) / 1000
