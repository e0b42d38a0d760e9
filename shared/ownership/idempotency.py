"""PURE: which commands were seen before (protocol decision A7)."""

from typing import Generic, TypeVar

from shared.recent import Recent

KEPT_MS = 300_000
"""How long an idempotency key is kept."""

MAX_KEPT = 100_000

Value = TypeVar("Value")


class IdempotencyKeys(Generic[Value]):
    """What was done for (user, key), for five minutes."""

    def __init__(self) -> None:
        self._kept: Recent[tuple[str, str], tuple[int, Value]] = Recent(MAX_KEPT)

    def find(self, user_id: str, key: str, now_ms: int) -> Value | None:
        """Return what was done under this key, if it is not too long ago."""
        self._drop_old(now_ms)
        found = self._kept.get((user_id, key))
        return found[1] if found else None

    def keep(self, user_id: str, key: str, value: Value, now_ms: int) -> None:
        """Remember what was done under this key."""
        self._kept.put((user_id, key), (now_ms, value))

    def _drop_old(self, now_ms: int) -> None:
        while self._kept:
            at_ms, _ = next(iter(self._kept.values()))
            if now_ms - at_ms <= KEPT_MS:
                return
            self._kept.popitem(last=False)
