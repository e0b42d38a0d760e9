"""Ids that rise: core/mint.py."""

from hypothesis import given
from hypothesis import strategies as st
from ulid import ULID

from gateway.core.mint import Mint

HIGHEST = 2**128 - 2**20


def test_a_fresh_id_is_taken_as_it_is():
    mint, fresh = Mint(), ULID()

    assert mint.next(fresh) == str(fresh)


def test_what_is_not_above_the_last_one_becomes_the_next_one():
    mint = Mint()
    last = ULID.from_int(1000)
    assert mint.next(last) == str(last)

    assert mint.next(last) == str(ULID.from_int(1001))
    assert mint.next(ULID.from_int(7)) == str(ULID.from_int(1002))
    assert mint.next(ULID.from_int(5000)) == str(ULID.from_int(5000))


@given(st.lists(st.integers(0, HIGHEST), max_size=50))
def test_whatever_the_clock_does_ids_rise_as_text_does(numbers: list[int]) -> None:
    mint = Mint()
    minted = [mint.next(ULID.from_int(number)) for number in numbers]

    assert minted == sorted(set(minted))
    assert all(len(one) == 26 for one in minted)
