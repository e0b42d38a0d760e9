"""A client for the real-time service.

    async with await connect("ws://localhost:8081/ws", token) as client:
        await client.subscribe("chat.*")
        await client.broadcast("chat.general", {"message": "hello"})
        async for message in client.messages():
            print(message["type"], message["data"])

It needs aiohttp and nothing of the service itself.
"""

from realtime_client.client import Client, Message, connect
from realtime_client.errors import (
    CommandFailed,
    CommandTimeout,
    ConnectionClosed,
    ConnectionRefused,
    RealtimeError,
    Unreachable,
)

__all__ = [
    "Client",
    "CommandFailed",
    "CommandTimeout",
    "ConnectionClosed",
    "ConnectionRefused",
    "Message",
    "RealtimeError",
    "Unreachable",
    "connect",
]
