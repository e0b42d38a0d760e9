"""Clients that stop reading: bare sockets, for a library would read on by itself."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

PATIENCE = 10.0
SMALL = 4096
"""What the kernel may keep for such a client, so that its buffers are soon full."""

UPGRADE = (
    "GET /ws?token={token} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Stalled:
    """A client that subscribes to a topic, and reads nothing from then on."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    @classmethod
    @asynccontextmanager
    async def open(cls, port: int, token: str, topic: str) -> AsyncIterator["Stalled"]:
        """Connect, subscribe, and read no further than the answer to that."""
        loop = asyncio.get_running_loop()
        with socket.socket() as end:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
            end.setblocking(False)
            await loop.sock_connect(end, ("127.0.0.1", port))
            await loop.sock_sendall(end, UPGRADE.format(token=token).encode())
            await loop.sock_sendall(end, _subscribe(topic))
            read = b""
            async with asyncio.timeout(PATIENCE):
                while b'"Ack"' not in read:
                    read += await loop.sock_recv(end, SMALL)
            yield cls(end)

    async def was_reset(self) -> bool:
        """Read what there is; return whether a reset ends it, and not an orderly close."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(PATIENCE):
                while await loop.sock_recv(self._socket, 65_536):
                    pass
        except ConnectionResetError:
            return True
        return False


@asynccontextmanager
async def stalled(port: int, tokens: Iterable[str], topic: str) -> AsyncIterator[list[Stalled]]:
    """Have one such client for each token."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Stalled.open(port, one, topic)) for one in tokens]


def _subscribe(topic: str) -> bytes:
    """Return a masked frame, the mask of which is 0 and changes nothing."""
    message = {"type": "Subscribe", "data": {"topics": [topic]}, "id": "s"}
    body = json.dumps(message).encode()
    return bytes((0x81, 0x80 | len(body), 0, 0, 0, 0)) + body
