from hypothesis import given
from hypothesis import strategies as st

from shared.broker.acknowledgements import Acknowledgements


def test_messages_that_follow_each_other_are_acknowledged_by_one_word() -> None:
    told = Acknowledgements()

    assert list(told.add([1, 2, 3])) == [(3, True)]
    assert list(told.add([4])) == [(4, True)]


def test_one_that_is_not_acknowledged_is_never_meant() -> None:
    told = Acknowledgements()

    assert list(told.add([2, 3])) == [(2, False), (3, False)]
    assert list(told.add([1, 5])) == [(1, True), (5, False)]


def test_what_the_broker_has_forgotten_is_not_named_again() -> None:
    told = Acknowledgements()

    assert list(told.add([3])) == [(3, False)]
    assert list(told.add([2, 1])) == [(2, True)]


def test_a_tag_that_was_told_before_is_told_again_for_the_broker_to_judge() -> None:
    told = Acknowledgements()
    list(told.add([1]))

    assert list(told.add([1])) == [(1, True)]


@given(st.permutations(range(1, 13)), st.lists(st.integers(1, 4)))
def test_each_is_acknowledged_once_and_only_when_it_was_told(
    order: list[int], sizes: list[int]
) -> None:
    told, open_at_broker, acknowledged = Acknowledgements(), set(order), set[int]()
    while order:
        size = sizes.pop() if sizes else 1
        now, order = order[:size], order[size:]
        acknowledged.update(now)
        for tag, all_before in told.add(now):
            assert tag in open_at_broker
            meant = {one for one in open_at_broker if one == tag or (all_before and one < tag)}
            open_at_broker -= meant
        assert not open_at_broker & acknowledged
        assert open_at_broker == set(range(1, 13)) - acknowledged
