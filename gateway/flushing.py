"""When what was gathered is written: at once, and then no more often than writing takes.

To write to a thousand sockets takes milliseconds, however little. What comes meanwhile, and in a
rest as long as that, is written in one; so the busier a node is, the more leaves in each write.
"""

import asyncio
from collections.abc import Callable

MOST_REST_SECONDS = 0.002


class Flushing:
    """Calls ``flush`` after something was gathered, with a rest in between."""

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._gathered = False
        self._rests = False

    def due(self) -> None:
        """Have what was gathered written soon."""
        if not self._gathered and not self._rests:
            asyncio.get_running_loop().call_soon(self._write)
        self._gathered = True

    def _write(self) -> None:
        loop = asyncio.get_running_loop()
        self._gathered, self._rests = False, True
        began = loop.time()
        try:
            self._flush()
        finally:  # one round that fails must not be the last
            loop.call_later(min(loop.time() - began, MOST_REST_SECONDS), self._rested)

    def _rested(self) -> None:
        self._rests = False
        if self._gathered:
            self._write()
