"""PURE: which commands were seen before (protocol decision A7)."""

from collections.abc import Iterator

from shared.messages.records import KeyUsed
from shared.recent import Recent

KEPT_MS = 300_000
"""How long an idempotency key is kept."""

MAX_KEPT = 100_000


def scoped(key: str, destination: str) -> str:
    """Return a key as it is kept: it stands for one message to one topic or user (A7)."""
    return f"{destination}\n{key}"  # neither can hold a line break


class IdempotencyKeys:
    """What was done for (user, scoped key), for five minutes."""

    def __init__(self) -> None:
        self._kept: Recent[tuple[str, str], KeyUsed] = Recent(MAX_KEPT)

    def find(self, user_id: str, key: str, now_ms: int) -> KeyUsed | None:
        """Return what was done under this key, if it is not too long ago."""
        self._drop_old(now_ms)
        return self._kept.get((user_id, key))

    def keep(self, used: KeyUsed) -> None:
        """Remember what was done under this key."""
        self._kept.put((used.user_id, used.key), used)

    def forget(self, user_id: str) -> None:
        """Forget what was done for a user, and for others who wrote to them."""
        theirs = scoped("", user_id)
        for user, key in list(self._kept):
            if user == user_id or key.startswith(theirs):
                del self._kept[user, key]

    def __iter__(self) -> Iterator[KeyUsed]:
        return iter(self._kept.values())

    def _drop_old(self, now_ms: int) -> None:
        while self._kept:
            oldest = next(iter(self._kept.values()))
            if now_ms - oldest.at_ms <= KEPT_MS:
                return
            self._kept.popitem(last=False)
