"""The end of a token: a warning before, the end of the conversation after (S3)."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from gateway.core.identity import Identity

NOTICE_SECONDS = 60.0
"""Before the expiry, or at 80 % of a shorter life."""

LEEWAY_SECONDS = 10.0
MAX_TIMER_SECONDS = 30 * 86_400.0
"""What event loops can be asked for in one go."""


class Expiring(Protocol):
    """Who lasts as long as a token."""

    def expires_soon(self) -> None:
        """Warn: little time is left."""

    def expire(self) -> None:
        """End: the token is over."""


class Expiry:
    """One timer for one conversation: for the warning, then for the end."""

    __slots__ = ("_timer", "_whose")

    def __init__(self, whose: Expiring) -> None:
        self._whose = whose
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, identity: Identity) -> None:
        """Set the timer for a token, in place of that of the one before."""
        self.forget()
        now = time.time()
        left = identity.expires_at - now
        life = identity.expires_at - (identity.issued_at or now)
        notice = min(NOTICE_SECONDS, max(life, 0.0) / 5)
        self._later(left - notice, self._warn_in_time, identity.expires_at)

    def forget(self) -> None:
        """Let nothing happen any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _warn_in_time(self, expires_at: float) -> None:
        self._later(expires_at + LEEWAY_SECONDS - time.time(), self._whose.expire)
        self._whose.expires_soon()

    def _later(self, seconds: float, call: Callable[..., None], *given: float) -> None:
        loop = asyncio.get_running_loop()
        if seconds > MAX_TIMER_SECONDS:
            rest = seconds - MAX_TIMER_SECONDS
            self._timer = loop.call_later(MAX_TIMER_SECONDS, self._later, rest, call, *given)
        else:
            self._timer = loop.call_later(max(seconds, 0.0), call, *given)
