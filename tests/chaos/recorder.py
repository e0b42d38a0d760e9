"""Writes the history down while it happens."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

from tests.chaos.history import Ended, Event, History, Stalled

TICK_SECONDS = 0.05
STALL_SECONDS = 0.1


class Recorder:
    """All events of a run, in the order in which they were recorded, by one clock."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._began = time.monotonic()

    def now(self) -> float:
        """Return the seconds since the run began."""
        return time.monotonic() - self._began

    def note(self, event: Event) -> None:
        """Write an event down."""
        self.events.append(event)

    def history(self, queues: Mapping[str, int] | None = None) -> History:
        """Return all that has happened until now."""
        return History([*self.events, Ended(self.now())], dict(queues or {}))

    @asynccontextmanager
    async def watching_the_clock(self) -> AsyncIterator[None]:
        """Note whenever this process itself is held up: it cannot blame others for that."""
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _watch(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(TICK_SECONDS)
            late = time.monotonic() - before - TICK_SECONDS
            if late > STALL_SECONDS:
                self.note(Stalled(self.now(), late))
