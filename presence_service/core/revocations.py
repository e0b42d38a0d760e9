"""PURE: whose tokens are good no more, from which moment back."""

from collections.abc import Iterator

from shared.messages.envelopes import Opened
from shared.messages.records import Revoked
from shared.recent import Recent

KEPT_MS = 30 * 86_400_000
"""A token that lives longer than this outlives its revocation."""

MAX_KEPT = 100_000


class Revocations:
    """The revocations of one partition's users; of each user the last one counts."""

    def __init__(self) -> None:
        self._before_ms: Recent[str, int] = Recent(MAX_KEPT)

    def note(self, revoked: Revoked) -> None:
        """Take one in; an earlier moment changes nothing."""
        before_ms = max(revoked.before_ms, self._before_ms.get(revoked.user_id, 0))
        self._before_ms.put(revoked.user_id, before_ms)

    def covering(self, opened: Opened) -> int:
        """Return the moment of the revocation by which a token is good no more; 0 if it is good.

        Tokens tell whole seconds, so one of the very second of the revocation is refused, too.
        """
        before_ms = self._before_ms.get(opened.user_id, 0)
        return before_ms if opened.issued_at_ms <= before_ms else 0

    def sweep(self, now_ms: int) -> None:
        """Forget those that are too old to concern any token."""
        over = [user for user, at_ms in self._before_ms.items() if at_ms < now_ms - KEPT_MS]
        for user_id in over:
            del self._before_ms[user_id]

    def __iter__(self) -> Iterator[Revoked]:
        for user_id, before_ms in self._before_ms.items():
            yield Revoked(user_id, before_ms)
