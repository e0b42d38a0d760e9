"""The direct messages that one connection was written and has not confirmed (R2)."""

import asyncio
from collections.abc import Callable, Iterator

from gateway.handover import Handover
from shared.recent import Recent

CONFIRM_SECONDS = 10.0
MAX_UNCONFIRMED = 256
"""So that one client cannot hold up a node."""

REMEMBERED = 1000


class Unconfirmed:
    """Waits for a client's confirmations; ``lapse`` is called with what it lets pass."""

    def __init__(self, lapse: Callable[[Handover], None]) -> None:
        self._lapse = lapse
        self._waiting: dict[str, list[Handover]] = {}
        self._since: dict[str, float] = {}
        self._written: Recent[str, None] = Recent(REMEMBERED)
        self._confirmed: Recent[str, None] = Recent(REMEMBERED)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def full(self) -> bool:
        """Whether the client must confirm first."""
        return len(self._waiting) >= MAX_UNCONFIRMED

    def has_confirmed(self, message_id: str) -> bool:
        """Whether the client has this message already."""
        return message_id in self._confirmed

    def knows(self, message_id: str) -> bool:
        """Whether the client was written this message."""
        return message_id in self._written

    def __iter__(self) -> Iterator[Handover]:
        """Iterate over what is neither confirmed nor given up, oldest first."""
        for handovers in self._waiting.values():
            yield from handovers

    def add(self, handover: Handover) -> bool:
        """Begin to wait; return whether the message is to be written: it may be already."""
        message_id = handover.delivery.message_id
        known = self._waiting.setdefault(message_id, [])
        known.append(handover)
        if len(known) > 1:
            return False
        self._written.put(message_id, None)
        self._since[message_id] = asyncio.get_running_loop().time()
        self._watch()
        return True

    def confirm(self, message_ids: list[str]) -> Iterator[Handover]:
        """Take confirmations; yield what is served with that."""
        for message_id in message_ids:
            if message_id in self._written:
                self._confirmed.put(message_id, None)
            self._since.pop(message_id, None)
            yield from self._waiting.pop(message_id, [])

    def clear(self) -> Iterator[Handover]:
        """The client is gone; yield what it has not confirmed."""
        if self._timer is not None:
            self._timer.cancel()
        waiting, self._waiting = self._waiting, {}
        self._since.clear()
        for handovers in waiting.values():
            yield from handovers

    def _watch(self) -> None:
        if self._timer is None and self._since:
            due = next(iter(self._since.values())) + CONFIRM_SECONDS
            self._timer = asyncio.get_running_loop().call_at(due, self._expire)

    def _expire(self) -> None:
        self._timer = None
        late = asyncio.get_running_loop().time() - CONFIRM_SECONDS
        for message_id in [one for one, since in self._since.items() if since <= late]:
            del self._since[message_id]
            for handover in self._waiting.pop(message_id, []):
                self._lapse(handover)
        self._watch()
