"""Which replica should own what: shared/partitions.py and shared/ownership/peers.py."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.messages.news import Heartbeat
from shared.ownership.peers import MIN_SECONDS, PEER_BEATS, Peers
from shared.partitions import partition_of, shares

PARTITIONS = 16
ME, OTHER = "me", "other"
OLD = MIN_SECONDS
"""A reign that has lasted long enough."""

names = st.sets(st.text(min_size=1, max_size=8), min_size=1, max_size=12).map(sorted)


# ---- shares --------------------------------------------------------------------------------------


@given(names, st.integers(1, 64))
def test_every_partition_has_one_owner_and_no_replica_more_than_its_share(
    replicas: list[str], partitions: int
) -> None:
    owners = shares(partitions, replicas)

    assert sorted(owners) == list(range(partitions))
    assert set(owners.values()) <= set(replicas)
    assert max(Counter(owners.values()).values()) <= -(-partitions // len(replicas))


@pytest.mark.parametrize("replicas", [1, 2, 3, 5, 9, 10, 16, 17])
def test_no_two_replicas_differ_by_more_than_one_partition(replicas: int) -> None:
    for seed in range(50):
        cluster = [f"{seed} {n}" for n in range(replicas)]
        held = Counter(dict.fromkeys(cluster, 0))
        held.update(shares(PARTITIONS, cluster).values())

        assert max(held.values()) - min(held.values()) <= 1


@given(names, st.randoms())
def test_whoever_computes_the_shares_gets_the_same(replicas: list[str], random: Random) -> None:
    shuffled = list(replicas)
    random.shuffle(shuffled)

    assert shares(PARTITIONS, shuffled) == shares(PARTITIONS, replicas)


def test_without_replicas_nobody_should_own_anything() -> None:
    assert shares(PARTITIONS, []) == {}


def moves(replicas: int, seed: int) -> tuple[int, int]:
    """Let a replica join; count the partitions that move to it, and between the others."""
    cluster = [f"{seed} {n}" for n in range(replicas)]
    joins = f"{seed} joins"
    before, after = shares(PARTITIONS, cluster), shares(PARTITIONS, [*cluster, joins])
    moved = [after[one] for one in before if before[one] != after[one]]
    return moved.count(joins), len(moved) - moved.count(joins)


@pytest.mark.parametrize("replicas", [1, 2, 3, 4, 5])
def test_when_a_replica_joins_or_goes_few_partitions_change_hands(replicas: int) -> None:
    tries = [moves(replicas, seed) for seed in range(200)]
    share = -(-PARTITIONS // (replicas + 1))

    assert max(to_it for to_it, _ in tries) <= share
    assert max(between for _, between in tries) <= PARTITIONS // 2
    assert sum(between for _, between in tries) / len(tries) <= 2


def test_one_that_joins_the_first_takes_just_its_share() -> None:
    assert all(moves(1, seed) == (8, 0) for seed in range(50))


def test_a_name_has_the_same_partition_everywhere() -> None:
    assert [partition_of(name, 16) for name in ("a", "chat.general", "ümlaut")] == [3, 13, 0]
    assert {partition_of(str(n), 16) for n in range(500)} == set(range(16))


# ---- peers ---------------------------------------------------------------------------------------


def heartbeat(
    replica: str = OTHER,
    *,
    terms: dict[int, int] | None = None,
    standing_by: list[int] | None = None,
    service: str = "router",
) -> Heartbeat:
    everywhere = list(range(PARTITIONS))
    by = everywhere if standing_by is None else standing_by
    return Heartbeat(service, replica, 1, 0, terms or {}, by)


@pytest.fixture
def peers() -> Peers:
    return Peers("router", ME)


def due(peers: Peers, seconds: float = OLD, owned: int = PARTITIONS) -> set[int]:
    """Return what is to be given up by a replica that owns everything."""
    return set(peers.due_to_others(dict.fromkeys(range(owned), seconds), PARTITIONS))


def belongs_to(replica: str, *replicas: str) -> set[int]:
    owners = shares(PARTITIONS, sorted(replicas))
    return {partition for partition, owner in owners.items() if owner == replica}


def test_whoever_is_alone_gives_nothing_up(peers: Peers) -> None:
    assert due(peers) == set()


def test_another_is_given_its_share_and_no_more(peers: Peers) -> None:
    peers.heard(heartbeat())

    assert due(peers) == belongs_to(OTHER, ME, OTHER)
    assert len(due(peers)) == PARTITIONS / 2


def test_only_what_is_owned_is_given_up(peers: Peers) -> None:
    peers.heard(heartbeat())

    assert due(peers, owned=5) == belongs_to(OTHER, ME, OTHER) & set(range(5))


def test_a_partition_is_given_up_only_to_one_that_stands_by_for_it(peers: Peers) -> None:
    wanted = sorted(belongs_to(OTHER, ME, OTHER))
    peers.heard(heartbeat(standing_by=wanted[:3]))
    assert due(peers) == set(wanted[:3])

    peers.heard(heartbeat(standing_by=[]))
    assert due(peers) == set()


def test_a_third_that_stands_by_is_not_given_what_should_be_the_others(peers: Peers) -> None:
    peers.heard(heartbeat("b", standing_by=[]))
    peers.heard(heartbeat("c"))

    assert due(peers) == belongs_to("c", ME, "b", "c")


def test_a_reign_is_not_given_up_before_it_has_lasted_a_while(peers: Peers) -> None:
    peers.heard(heartbeat())

    assert due(peers, seconds=MIN_SECONDS - 0.01) == set()
    assert due(peers, seconds=MIN_SECONDS)


def test_a_silent_peer_is_forgotten_after_its_beats_and_no_sooner(peers: Peers) -> None:
    peers.heard(heartbeat(terms={3: 1}))
    for _ in range(PEER_BEATS):
        peers.beat_returned()
    assert peers.serve(3)
    assert due(peers)

    peers.beat_returned()

    assert not peers.serve(3)
    assert due(peers) == set()


def test_a_peer_that_is_heard_again_is_as_young_as_any(peers: Peers) -> None:
    for _ in range(3 * PEER_BEATS):
        peers.heard(heartbeat(terms={3: 1}))
        peers.beat_returned()

    assert peers.serve(3)


def test_what_a_peer_serves_is_what_it_said_last(peers: Peers) -> None:
    peers.heard(heartbeat(terms={3: 1, 4: 1}))
    peers.heard(heartbeat(terms={4: 1}))

    assert [peers.serve(partition) for partition in (3, 4, 5)] == [False, True, False]


def test_terms_only_grow_and_outlive_whoever_reigned(peers: Peers) -> None:
    assert peers.highest_term(3) == 0
    peers.heard(heartbeat("b", terms={3: 7}))
    peers.heard(heartbeat("c", terms={3: 5, 4: 2}))
    for _ in range(PEER_BEATS + 1):
        peers.beat_returned()

    assert [peers.highest_term(partition) for partition in (3, 4, 5)] == [7, 2, 0]


def test_neither_oneself_nor_another_service_is_a_peer(peers: Peers) -> None:
    peers.heard(heartbeat(ME, terms={3: 9}))
    peers.heard(heartbeat(service="presence", terms={3: 9}))

    assert not peers.serve(3)
    assert peers.highest_term(3) == 0
    assert due(peers) == set()
