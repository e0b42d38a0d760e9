"""What the dashboard is told of the cluster."""

import msgspec

from gateway.core.dashboard import REMEMBERED_SECONDS, Past, gateways, replicas
from shared.overview import Process


def gateway(node, **fields):
    return Process(node, "gateway", 10.0, **fields)


def test_a_sample_adds_up_counts_and_takes_the_slowest_gateways_latency():
    past = Past()
    one = gateway("a", connections=2, taken_rate=1.25, given_rate=10, p50_ms=1, p99_ms=9)
    other = gateway("b", connections=3, taken_rate=1, given_rate=5, p50_ms=2, p99_ms=4)
    past.note([one, other, Process("r", "router", 10.0, taken_rate=99)], 10.0)
    [sample] = past.samples
    assert msgspec.to_builtins(sample) == [10.0, 5, 2.2, 15, 2, 9]


def test_a_cluster_without_gateways_has_a_sample_too():
    past = Past()
    past.note([], 1.0)
    assert msgspec.to_builtins(past.samples[0]) == [1.0, 0, 0, 0, 0, 0]


def test_what_is_remembered_is_bounded():
    past = Past()
    for second in range(2 * REMEMBERED_SECONDS):
        past.note([], float(second))
    assert len(past.samples) == REMEMBERED_SECONDS


def test_what_is_too_old_is_not_shown():
    past = Past()
    past.note([], 0.0)
    past.note([], 100.0)
    assert [one.at for one in past.lately(REMEMBERED_SECONDS)] == [100.0]


def test_gateways_and_replicas_are_told_apart_the_routers_first():
    router = Process("r", "router", 9.0, serves=frozenset({3, 1}), stands_by=frozenset({2}))
    presence = Process("p", "presence", 9.0)
    known = [gateway("g", draining=True), presence, router]
    assert [(one.node, one.draining, one.silent_seconds) for one in gateways(known, 12.0)] == [
        ("g", True, 2.0)
    ]
    told = [(one.node, one.serves, one.stands_by) for one in replicas(known, 12.0)]
    assert told == [("r", [1, 3], 1), ("p", [], 0)]
