"""PURE: ids that rise."""

from ulid import ULID


class Mint:
    """ULIDs of which each is above the one before, also within a millisecond.

    Mailboxes keep their order by them.
    """

    def __init__(self) -> None:
        self._last = 0

    def next(self, fresh: ULID) -> str:
        """Return ``fresh``, or the id after the last one if that is higher."""
        self._last = max(int(fresh), self._last + 1)
        return str(ULID.from_int(self._last))
