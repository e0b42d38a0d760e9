"""Deliveries cost no more than twice what they did, as a share of what the machine needs."""

from contextlib import ExitStack

import pytest

from benchmarks.measuring import Run
from benchmarks.rows import fan_out
from benchmarks.systems import embedded, limit

CONNECTIONS = 500
SECONDS = 1.0

SHARES = {1: 2.0, 8: 0.35, 64: 0.18}
"""What a delivery costs by how many broadcasts are outstanding, all services in one process, as a
share of what it costs the limit; found on two shared cores."""


def share(found: dict[str, list[Run]]) -> float:
    """Return the best of some rounds: what else the machine does makes it only worse."""
    return fan_out.shares(found, "embedded").least


@pytest.mark.parametrize("window", SHARES)
def test_a_delivery_costs_less_than_twice_the_share_of_the_limit_that_it_did(window: int) -> None:
    with ExitStack() as stack:
        systems = [stack.enter_context(one()) for one in (limit, embedded)]
        cases = [fan_out.case(stack, one, CONNECTIONS) for one in systems]

        found = fan_out.measure_rounds(cases, window, SECONDS)

    assert share(found) < 2 * SHARES[window]
