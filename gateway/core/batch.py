"""PURE: several commands in one message, and how many of them succeeded (X4)."""

from collections.abc import Callable


class Batch:
    """Counts the outcomes of a batch's operations; calls ``ended`` when each is answered."""

    def __init__(self, size: int, ended: "Callable[[Batch], None]") -> None:
        self.succeeded = self.failed = 0
        self._size = size
        self._ended = ended

    def count(self, *, failed: bool) -> None:
        """Count an operation whose reply is written."""
        if failed:
            self.failed += 1
        else:
            self.succeeded += 1
        if self.succeeded + self.failed == self._size:
            self._ended(self)
