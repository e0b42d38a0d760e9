"""The end of a token: a warning before, the end of the conversation after (S3)."""

import asyncio
import time
from collections.abc import Callable

from gateway.core.identity import Identity

NOTICE_SECONDS = 60.0
"""Before the expiry, or at 80 % of a shorter life."""

LEEWAY_SECONDS = 10.0
MAX_TIMER_SECONDS = 30 * 86_400.0
"""What event loops can be asked for in one go."""


class Expiry:
    """Two timers for one conversation."""

    def __init__(self, warn: Callable[[], None], end: Callable[[], None]) -> None:
        self._warn = warn
        self._end = end
        self._timers: list[asyncio.TimerHandle] = []

    def watch(self, identity: Identity) -> None:
        """Set the timers for a token, in place of those of the one before."""
        self.forget()
        now = time.time()
        left = identity.expires_at - now
        life = identity.expires_at - (identity.issued_at or now)
        notice = min(NOTICE_SECONDS, max(life, 0.0) / 5)
        self._later(left - notice, self._warn)
        self._later(left + LEEWAY_SECONDS, self._end)

    def forget(self) -> None:
        """Let nothing happen any more."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        if seconds > MAX_TIMER_SECONDS:
            rest = seconds - MAX_TIMER_SECONDS
            timer = loop.call_later(MAX_TIMER_SECONDS, lambda: self._later(rest, call))
        else:
            timer = loop.call_later(max(seconds, 0.0), call)
        self._timers.append(timer)
