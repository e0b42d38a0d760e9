"""How fast clients are sent away from a node that stops."""

import pytest

from gateway.core.pace import LEAST_PER_SECOND, LEAST_SPREAD_MS, SPREAD_MS, pace, spread_ms


@pytest.mark.parametrize(("connections", "window"), [(5000, 20), (3000, 10), (100_000, 60)])
def test_closes_fill_the_window_evenly(connections: int, window: float) -> None:
    assert pace(connections, window) * connections == pytest.approx(window)


@pytest.mark.parametrize("connections", [1, 10, 999])
def test_few_connections_need_not_wait_for_the_window_to_end(connections: int) -> None:
    assert pace(connections, 20) == 1 / LEAST_PER_SECOND


@pytest.mark.parametrize(("connections", "window"), [(0, 20), (5000, 0)])
def test_without_a_window_or_connections_nobody_waits(connections: int, window: float) -> None:
    assert pace(connections, window) == 0


def test_the_shorter_the_window_the_wider_the_returns_are_spread() -> None:
    assert [spread_ms(window) for window in (0, 1.5, 3, 60)] == [
        SPREAD_MS,
        3500,
        LEAST_SPREAD_MS,
        LEAST_SPREAD_MS,
    ]
