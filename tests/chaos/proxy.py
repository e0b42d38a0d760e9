"""A wire that can be cut, slowed down, or fall silent."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

CHUNK = 65_536


class Proxy:
    """Passes TCP on to a target on loopback, as well or badly as it is told."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self._target = target
        self._ends: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._delay = 0.0
        self._refusing = False
        self._held = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def connections(self) -> int:
        """How many connections it carries."""
        return len(self._ends) // 2

    @property
    def held(self) -> int:
        """How many bytes it has taken from one end and not passed to the other."""
        return self._held

    def cut(self) -> None:
        """Reset every connection, and each new one until ``heal``."""
        self._refusing = True
        self._flowing.set()
        for end in list(self._ends):
            end.transport.abort()

    def fall_silent(self) -> None:
        """Keep every connection open, take new ones, and pass nothing on, not even an end."""
        self._flowing.clear()

    def slow_down(self, seconds: float) -> None:
        """Hold back whatever passes, in both directions."""
        self._delay = seconds

    def heal(self) -> None:
        """Be a good wire again; what was held back goes on."""
        self._refusing = False
        self._delay = 0.0
        self._flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(OSError, asyncio.CancelledError):  # asyncio would complain of the latter
                await self._join(reader, writer)
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._flowing.wait()
        if self._refusing:
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        ends = {writer, far_writer}
        self._ends |= ends
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, far_writer))
                group.create_task(self._pass(far_reader, writer))
        finally:
            self._ends -= ends
            far_writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                with self._holding(len(data)):
                    if self._delay:
                        await asyncio.sleep(self._delay)
                    await self._flowing.wait()
                    writer.write(data)
                    await writer.drain()
            await self._flowing.wait()
            writer.close()  # a process that has ended leaves no half of its sockets open
            return
        writer.transport.abort()

    @contextmanager
    def _holding(self, size: int) -> Iterator[None]:
        self._held += size
        try:
            yield
        finally:
            self._held -= size
