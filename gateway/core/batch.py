"""PURE: several commands in one message, and how many of them succeeded (X4)."""

from collections.abc import Callable
from dataclasses import replace

from gateway.core.replies import Reply


class Batch:
    """Counts the outcomes of a batch's operations; calls ``ended`` when each is answered."""

    def __init__(self, size: int, ended: "Callable[[Batch], None]") -> None:
        self.succeeded = self.failed = 0
        self._size = size
        self._ended = ended

    def counted(self, reply: Reply) -> Reply:
        """Return the reply, to be counted once it is written."""
        first = reply.afterwards

        def afterwards() -> None:
            if first is not None:
                first()
            self._count(reply)

        return replace(reply, afterwards=afterwards)

    def _count(self, reply: Reply) -> None:
        if reply.failed:
            self.failed += 1
        else:
            self.succeeded += 1
        if self.succeeded + self.failed == self._size:
            self._ended(self)
