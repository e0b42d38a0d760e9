"""How much of one connection may be under way at once; past that its socket is not read."""

import asyncio


class Window:
    """Room for so many commands, and for so many bytes of them. One task at a time enters."""

    __slots__ = ("_bytes", "_entered", "_most", "_most_bytes", "_waiting")

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._entered = self._bytes = 0
        self._waiting: asyncio.Future[None] | None = None

    async def enter(self, size: int) -> None:
        """Wait until there is room; whatever its size, there is for one alone."""
        while self._entered and not self._fits(size):
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        self._entered += 1
        self._bytes += size

    def leave(self, size: int) -> None:
        """Make room again."""
        self._entered -= 1
        self._bytes -= size
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _fits(self, size: int) -> bool:
        return self._entered < self._most and self._bytes + size <= self._most_bytes
