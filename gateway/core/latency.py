"""PURE: how long commands take, of those answered lately."""

from collections import deque
from math import ceil

SPAN_SECONDS = 1.0
REMEMBERED_COMMANDS = 4096
"""Of a busier second only the last ones count."""


class Latency:
    """The durations of the last second's commands; times are monotonic, in seconds."""

    def __init__(self) -> None:
        self._answered: deque[tuple[float, float]] = deque(maxlen=REMEMBERED_COMMANDS)

    def add(self, seconds: float, now: float) -> None:
        """Note how long a command took that has just been answered."""
        self._answered.append((now, seconds))

    def percentiles_ms(self, now: float) -> tuple[float, float]:
        """Return p50 and p99 in milliseconds, by nearest rank; zeros if nothing was answered."""
        while self._answered and self._answered[0][0] <= now - SPAN_SECONDS:
            self._answered.popleft()
        if not self._answered:
            return 0.0, 0.0
        ranked = sorted(seconds for _, seconds in self._answered)
        return _ms(ranked, 0.5), _ms(ranked, 0.99)


def _ms(ranked: list[float], share: float) -> float:
    return round(1000 * ranked[ceil(share * len(ranked)) - 1], 3)
