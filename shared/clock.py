"""Wall time, for what the protocol shows. Everything else uses a monotonic clock."""

import time


def wall_clock_ms() -> int:
    """Return Unix time in milliseconds."""
    return time.time_ns() // 1_000_000
