"""The end of a token: a warning before, the end of the conversation after (S3)."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from gateway.core.identity import Identity

NOTICE_SECONDS = 60.0
"""Before the expiry, or at 80 % of a shorter life."""

MAX_TIMER_SECONDS = 30 * 86_400.0
"""What event loops can be asked for in one go."""


class Expiring(Protocol):
    """Who lasts as long as a token."""

    def expires_soon(self) -> None:
        """Warn: little time is left."""

    def expire(self) -> None:
        """End: the token is over."""


class Expiry:
    """One timer for one conversation: for the warning, then for the end.

    Both moments are fixed on the loop's clock when the token comes: whoever sets the wall clock
    later ends no conversation, and keeps none.
    """

    __slots__ = ("_leeway", "_timer", "_whose")

    def __init__(self, whose: Expiring, leeway_seconds: float) -> None:
        self._whose = whose
        self._leeway = leeway_seconds
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, identity: Identity) -> None:
        """Set the timer for a token, in place of that of the one before."""
        self.forget()
        now = time.time()
        life = identity.expires_at - (identity.issued_at or now)
        notice = min(NOTICE_SECONDS, max(life, 0.0) / 5)
        expires_at = asyncio.get_running_loop().time() + identity.expires_at - now
        self._at(expires_at - notice, self._warn_in_time, expires_at + self._leeway)

    def forget(self) -> None:
        """Let nothing happen any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _warn_in_time(self, ends_at: float) -> None:
        self._at(ends_at, self._whose.expire)
        self._whose.expires_soon()

    def _at(self, when: float, call: Callable[..., None], *given: float) -> None:
        loop = asyncio.get_running_loop()
        if (left := when - loop.time()) > MAX_TIMER_SECONDS:
            self._timer = loop.call_later(MAX_TIMER_SECONDS, self._at, when, call, *given)
        else:
            self._timer = loop.call_later(max(left, 0.0), call, *given)
