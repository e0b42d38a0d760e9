"""PURE: how fast clients are sent away from a node that stops."""

LEAST_PER_SECOND = 50.0
"""Slower would help nobody: any node takes in ten times as many."""

SPREAD_MS = 5000
LEAST_SPREAD_MS = 2000


def pace(connections: int, window: float) -> float:
    """Return the seconds from one close to the next, so that all fall evenly into the window.

    ``window`` is in seconds; 0 closes all at once.
    """
    if not connections or not window:
        return 0.0
    return min(window / connections, 1 / LEAST_PER_SECOND)


def spread_ms(window: float) -> int:
    """Return within how many milliseconds those who are sent away are to come back.

    The closes are spread already, but for a short window.
    """
    return max(LEAST_SPREAD_MS, SPREAD_MS - int(window * 1000))
