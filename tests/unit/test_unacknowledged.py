"""Which messages of a channel are acknowledged by which words: shared/broker/unacknowledged.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.broker.unacknowledged import Unacknowledged


@pytest.fixture
def held() -> Unacknowledged:
    """Return what is held of six messages."""
    held = Unacknowledged()
    for tag in range(1, 7):
        held.add(tag)
    return held


def test_messages_that_follow_each_other_are_acknowledged_by_one_word(held: Unacknowledged) -> None:
    assert list(held.remove([1, 2, 3])) == [(3, True)]
    assert list(held.remove([4])) == [(4, True)]


def test_one_that_is_not_acknowledged_is_never_meant(held: Unacknowledged) -> None:
    assert list(held.remove([2, 3])) == [(2, False), (3, False)]
    assert list(held.remove([1, 5])) == [(1, True), (5, False)]


def test_what_the_broker_has_forgotten_is_not_named_again(held: Unacknowledged) -> None:
    assert list(held.remove([3])) == [(3, False)]
    assert list(held.remove([2, 1])) == [(2, True)]


def test_a_tag_that_is_not_held_is_told_for_the_broker_to_judge(held: Unacknowledged) -> None:
    list(held.remove([1]))

    assert list(held.remove([1])) == [(1, False)]


def test_nothing_is_kept_of_what_is_acknowledged_behind_one_that_is_not() -> None:
    held = Unacknowledged()
    held.add(1)
    for tag in range(2, 1000):
        held.add(tag)
        list(held.remove([tag]))

    assert len(held) == 1


@given(st.permutations(range(1, 13)), st.lists(st.integers(1, 4)), st.integers(0, 12))
def test_each_is_acknowledged_once_and_only_when_it_was_told(
    order: list[int], sizes: list[int], left: int
) -> None:
    held, open_at_broker, acknowledged = Unacknowledged(), set(order), set[int]()
    for tag in sorted(order):
        held.add(tag)
    order = order[left:]
    while order:
        size = sizes.pop() if sizes else 1
        now, order = order[:size], order[size:]
        acknowledged.update(now)
        for tag, all_before in held.remove(now):
            assert tag in open_at_broker
            open_at_broker -= {
                one for one in open_at_broker if one == tag or (all_before and one < tag)
            }
        assert open_at_broker == set(range(1, 13)) - acknowledged
