"""Looks after clients that read slowly, all of a node together: to look costs less than to time.

One that takes nothing is ended, however little there is for it. One that was spared broadcasts of
low priority is told how many, once it has caught up (X3).
"""

import asyncio

from gateway.connection import Connection
from gateway.core.connections import Connections
from shared.errors import SlowConsumer

LOOK_SECONDS = 1.0
MOST_LOOKS = 10
"""So often in a row a client may be seen to have taken nothing of what is held back for it.

Looks are counted, not seconds: while the node itself stands still nobody is given anything.
"""


class SlowReaders:
    """Those connections for which something was held back when they were looked at last."""

    def __init__(self, connections: Connections[Connection]) -> None:
        self._connections = connections
        self._seen: dict[Connection, tuple[int, int]] = {}
        """What each had taken, and how often that was seen again."""

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """End who takes nothing, tell who has caught up what it was spared."""
        before, self._seen = self._seen, {}
        for one in self._connections:
            if one.held_back:
                self._watch(one, *before.get(one, (-1, 0)))
            if one.shed:
                one.tell_shed()
        for one, (_, looks) in self._seen.items():
            if looks >= MOST_LOOKS:
                one.end(SlowConsumer())

    def _watch(self, one: Connection, taken_before: int, looks: int) -> None:
        taken = one.taken
        self._seen[one] = (taken, looks + 1 if taken == taken_before else 0)
