"""How long commands take, as a node tells of itself: gateway/core/latency.py."""

from gateway.core.latency import REMEMBERED_COMMANDS, Latency


def test_percentiles_are_nearest_ranks_in_milliseconds():
    latency = Latency()
    for ms in reversed(range(1, 101)):
        latency.add(ms / 1000, now=5.0)

    assert latency.percentiles_ms(5.5) == (50.0, 99.0)


def test_one_command_is_all_percentiles_and_none_is_zero():
    latency = Latency()
    assert latency.percentiles_ms(0.0) == (0.0, 0.0)
    latency.add(0.25, now=1.0)
    assert latency.percentiles_ms(1.0) == (250.0, 250.0)


def test_what_was_answered_more_than_a_second_ago_does_not_count():
    latency = Latency()
    latency.add(9.0, now=1.0)
    latency.add(0.001, now=1.5)

    assert latency.percentiles_ms(2.0) == (1.0, 1.0)
    assert latency.percentiles_ms(2.5) == (0.0, 0.0)


def test_of_a_busy_second_the_last_commands_are_remembered():
    latency = Latency()
    latency.add(9.0, now=1.0)
    for _ in range(REMEMBERED_COMMANDS):
        latency.add(0.001, now=1.0)

    assert latency.percentiles_ms(1.0) == (1.0, 1.0)
