"""WebSockets by hand, for clients that do what no library would."""

import asyncio
import base64
import json
import os
import socket
from dataclasses import dataclass
from typing import Any

HEAD_BYTES = 65_536
PATIENCE = 20.0
TEXT, CONTINUATION, PING, CLOSE = 0x1, 0x0, 0x9, 0x8


def frame(opcode: int, payload: bytes, *, final: bool = True, rsv1: bool = False) -> bytes:
    """Return a masked frame (RFC 6455 section 5.2), its mask all zeros."""
    first = (0x80 if final else 0) | (0x40 if rsv1 else 0) | opcode
    size = len(payload)
    if size < 126:
        head = bytes([first, 0x80 | size])
    elif size < 65_536:
        head = bytes([first, 0xFE]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, 0xFF]) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


def text(message: Any) -> bytes:
    """Return a message as a frame."""
    return frame(TEXT, json.dumps(message).encode())


@dataclass
class Socket:
    """A TCP connection from an address of its own."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Send, as fast as the other side reads."""
        self.writer.write(data)
        await self.writer.drain()

    async def status(self) -> int:
        """Return the status of an HTTP answer; 0 if the connection is closed without one."""
        try:
            async with asyncio.timeout(PATIENCE):
                head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0
        return int(head.split(b" ", 2)[1])

    async def receive(self) -> tuple[int, bytes]:
        """Return the next frame: its opcode and payload."""
        async with asyncio.timeout(PATIENCE):
            first, size = await self.reader.readexactly(2)
            if size == 126:
                size = int.from_bytes(await self.reader.readexactly(2), "big")
            elif size == 127:
                size = int.from_bytes(await self.reader.readexactly(8), "big")
            return first & 0x0F, await self.reader.readexactly(size)

    async def hear(self) -> dict[str, Any]:
        """Return the next message."""
        while (heard := await self.receive())[0] != TEXT:
            pass
        message: dict[str, Any] = json.loads(heard[1])
        return message

    async def closed(self) -> tuple[int, list[int]]:
        """Read to the end; return the close code, 1006 without one, and the codes of all Errors."""
        errors = []
        while True:
            try:
                opcode, payload = await self.receive()
            except (asyncio.IncompleteReadError, ConnectionError):
                return 1006, errors
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big"), errors
            if opcode == TEXT and (message := json.loads(payload))["type"] == "Error":
                errors.append(message["data"]["code"])

    def drop(self) -> None:
        """Be gone."""
        self.writer.transport.abort()


async def connect(port: int, address: str, *, small: bool = False) -> Socket:
    """Open a connection from one of loopback's addresses; ``small`` takes in little at a time."""
    plain = socket.socket()
    if small:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.bind((address, 0))
    plain.setblocking(False)
    async with asyncio.timeout(PATIENCE):
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", port))
    return Socket(*await asyncio.open_connection(sock=plain, limit=HEAD_BYTES))


def request(token: str, *headers: str, path: str = "/ws") -> bytes:
    """Return a request for a WebSocket."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = (
        f"GET {path}?token={token} HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        *headers,
    )
    return "\r\n".join((*lines, "", "")).encode()


async def client(port: int, address: str, token: str, *, small: bool = False) -> Socket:
    """Return a WebSocket that was welcomed."""
    opened = await connect(port, address, small=small)
    await opened.send(request(token))
    assert await opened.status() == 101
    assert (await opened.hear())["data"]["status"] == "connected"
    return opened
