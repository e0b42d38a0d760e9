"""A terminal over telnet, as far as aiomonitor's prompt needs one."""

import asyncio
import re
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

PATIENCE = 10.0
PROMPT = b"monitor >>> "
_STEERING = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]")
_PRINTED = re.compile(rb"\x1b\[\?2004l(.*?)\x1b\[\?2004h", re.DOTALL)
"""Between the end of one prompt and the beginning of the next: the switches of pasting."""

IAC, SB, SE, WILL, TTYPE, NAWS = 255, 250, 240, 251, 24, 31
GREETING = (
    bytes([IAC, WILL, TTYPE, IAC, WILL, NAWS])
    + bytes([IAC, SB, NAWS, *struct.pack("!HH", 200, 50), IAC, SE])
    + bytes([IAC, SB, TTYPE, 0, *b"xterm", IAC, SE])
)


class Terminal:
    """One person at the prompt."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.raw = b""
        """All that came, with what steers a terminal."""

    async def ask(self, command: str) -> list[str]:
        """Run a command; return the lines that it printed."""
        mark = len(self.raw)
        self._writer.write(f"{command}\r".encode())
        await self._until(lambda: _PRINTED.search(self.raw, mark) is not None)
        printed = _PRINTED.search(self.raw, mark)
        assert printed is not None
        text = _STEERING.sub(b"", printed[1]).decode()
        return [one.rstrip() for one in text.splitlines() if one.strip()]

    async def greeted(self) -> None:
        """Wait for the first prompt."""
        await self._until(lambda: PROMPT in self.raw)

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not holds():
                arrived = await self._reader.read(65_536)
                assert arrived, "the terminal was closed"
                self.raw += arrived


@asynccontextmanager
async def terminal(port: int) -> AsyncIterator[Terminal]:
    """Open a terminal at a port of this machine."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GREETING)
    opened = Terminal(reader, writer)
    try:
        await opened.greeted()
        yield opened
    finally:
        writer.close()
        await writer.wait_closed()
