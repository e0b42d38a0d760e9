"""One reading of a log at RabbitMQ."""

import asyncio
from collections import deque

from shared.broker.ports import Arrived, Receive


class Reading:
    """Hands over at most so many records at a time: RabbitMQ 3.10 sends more, in whole chunks."""

    def __init__(self, prefetch: int, receive: Receive) -> None:
        self._prefetch = prefetch
        self._receive = receive
        self._waiting: deque[Arrived] = deque()
        self._held: set[int] = set()

    def add(self, record: Arrived) -> None:
        """Hand a record over when it is its turn."""
        self._waiting.append(record)
        self._pump()

    def acknowledge(self, record: Arrived) -> None:
        """Make room for another one, if this one was handed over here."""
        if record.tag in self._held:
            self._held.remove(record.tag)
            asyncio.get_running_loop().call_soon(self._pump)

    def end(self) -> None:
        """Hand over nothing more."""
        self._waiting.clear()

    def _pump(self) -> None:
        while self._waiting and len(self._held) < self._prefetch:
            record = self._waiting.popleft()
            self._held.add(record.tag)
            self._receive(record)
