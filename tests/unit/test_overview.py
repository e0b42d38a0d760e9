"""Who is in the cluster, and its table: shared/overview.py, standalone/table.py."""

from shared.messages.news import Heartbeat, Lease, LeaseEnded
from shared.overview import Overview
from standalone.table import COLUMNS, cluster_table
from tests.unit.builders import life


def rows(overview: Overview, now: float) -> list[list[str]]:
    heads, *lines = [
        line.split() for line in cluster_table(overview.processes(now), now).splitlines()
    ]
    assert heads == list(COLUMNS)
    return lines


def beat(replica: str, performed: int = 0, **fields) -> Heartbeat:
    return Heartbeat("router", replica, 1, 0, {1: 1, 2: 1}, [0], "r1", performed, **fields)


def test_gateways_and_replicas_have_a_line_each():
    overview = Overview()
    overview.hear(Lease(life("g1"), 0, 7, release="1.2"), 10)
    overview.hear(beat("one", release="1.1"), 10)

    assert rows(overview, 10) == [
        ["g1", "gateway", "1.2", "7", "0", "0", "0.0", "now"],
        ["r1", "router", "1.1", "2", "of", "3", "0", "now"],
    ]


def test_rates_are_counts_per_second_between_two_words():
    overview = Overview()
    overview.hear(Lease(life("g1"), 0, 1, 100, 1000), 10)
    overview.hear(Lease(life("g1"), 0, 1, 150, 3000), 12)
    overview.hear(Lease(life("g1"), 0, 1, 999, 9999), 12.1)

    assert rows(overview, 12) == [["g1", "gateway", "1", "25", "1000", "0.0", "now"]]


def test_how_long_commands_take_and_whether_it_drains_is_what_a_gateway_said_last():
    overview = Overview()
    overview.hear(Lease(life("g1"), 0, 1, p50_ms=9, p99_ms=99), 10)
    overview.hear(Lease(life("g1"), 0, 1, p50_ms=1.25, p99_ms=12.5, draining=True), 11)

    (process,) = overview.processes(11)
    assert (process.p50_ms, process.p99_ms, process.draining) == (1.25, 12.5, True)
    assert rows(overview, 11)[0][-2:] == ["12.5", "now"]


def test_who_falls_silent_is_marked_and_then_gone():
    overview = Overview()
    overview.hear(beat("one"), 0)

    assert rows(overview, 7)[0][-3:] == ["7", "s", "ago"]
    assert rows(overview, 11) == []


def test_who_says_goodbye_is_gone_at_once():
    overview = Overview()
    overview.hear(Lease(life("g1"), 0, 7), 0)
    overview.hear(LeaseEnded(life("g1"), clean=True), 1)

    assert rows(overview, 1) == []
